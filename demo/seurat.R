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

read_counts <- function(folder, wanted) {
  read_ints <- function(name, n, size) readBin(file.path(folder, name), "integer", n, size = size, endian = "little")
  genes <- readLines(file.path(folder, "genes.txt"))
  p <- read_ints("indptr.i32", wanted + 1, 4)
  entries <- p[length(p)]
  cells <- sprintf("cell%06d", seq_len(length(p) - 1))
  new("dgCMatrix", p = p, i = read_ints("indices.i32", entries, 4),
      x = as.numeric(read_ints("counts.i16", entries, 2)),
      Dim = c(length(genes), length(cells)), Dimnames = list(genes, cells))
}

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
