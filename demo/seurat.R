# The demo's analysis in R: a Seurat workflow on the counts that demo/make_counts.py wrote. Everything in it comes
# from the packages; nothing knows about memory tiers.
#
#   Rscript seurat.R FOLDER OUT.rds CELLS      (the first CELLS of the matrix)
#
# Progress goes to stdout as lines that begin with "==". OUT.rds holds the results with a digest of every large matrix:
# two runs whose files are equal byte by byte computed the same thing.
suppressPackageStartupMessages({
  library(Matrix)
  library(Seurat)
})
stage <- function(...) {
  cat("==", ..., "\n")
  flush(stdout())
}

# Of a vector, in pieces: digest() serialises what it is given, and one piece is a small copy.
fingerprint <- function(x, piece = 2^22) {
  starts <- seq(1, length(x), by = piece)
  vapply(starts, function(s) digest::digest(x[s:min(s + piece - 1, length(x))], algo = "xxhash64"), "")
}

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))), "counts.R"))

arguments <- commandArgs(trailingOnly = TRUE)
set.seed(1)

stage("read counts")
object <- CreateSeuratObject(read_counts(arguments[[1]], as.integer(arguments[[3]])), project = "demo", min.cells = 3,
                             min.features = 200)
invisible(gc())

stage("normalise")
object <- NormalizeData(object, verbose = FALSE)

stage("variable genes")
object <- FindVariableFeatures(object, nfeatures = 2000, verbose = FALSE)

stage("scale")
object <- ScaleData(object, verbose = FALSE)

stage("PCA")
object <- RunPCA(object, npcs = 20, verbose = FALSE)

stage("neighbours")
object <- FindNeighbors(object, dims = 1:20, verbose = FALSE)

stage("clusters")
object <- FindClusters(object, resolution = 0.5, verbose = FALSE)

stage("results")
assay <- object[["RNA"]]
graph <- object[["RNA_snn"]]
saveRDS(list(
  variable_genes = VariableFeatures(object), clusters = as.character(Idents(object)),
  pca = Embeddings(object, "pca"), loadings = Loadings(object, "pca"), stdev = Stdev(object, "pca"),
  genes = fingerprint(assay@data@i), normalised = fingerprint(assay@data@x),
  scaled = fingerprint(assay@scale.data), snn = c(fingerprint(graph@i), fingerprint(graph@x))
), arguments[[2]], compress = FALSE)
stage(length(unique(Idents(object))), "clusters of", ncol(object), "cells")
