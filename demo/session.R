# The demo's session: loads a large object, once, then tries parameter values on it.
#
#   Rscript session.R FOLDER CELLS       loads the counts of demo/make_counts.py, normalises them
#   Rscript session.R FILE.rds           loads what such a session saved
#
# Then it obeys its standard input: "save FILE gzip|plain", "try GENES". At the end of its input a copy made by `ebb clone
# --arg genes=N` tries N. Answers go to stdout as "== ..." lines.
suppressPackageStartupMessages(library(Matrix))
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))
source(file.path(here, "counts.R"))

say <- function(...) {
  cat("==", ..., "\n")
  flush(stdout())
}

load_counts <- function(folder, cells) {
  counts <- read_counts(folder, cells)
  normalised <- counts
  normalised@x <- log1p(counts@x * rep(1e4 / colSums(counts), diff(counts@p)))
  list(counts = counts, normalised = normalised)
}

# The leading singular values of the most variable genes: what depends on the parameter.
try_genes <- function(object, genes) {
  x <- object$normalised
  variance <- rowMeans(x^2) - rowMeans(x)^2
  wanted <- order(variance, decreasing = TRUE)[seq_len(genes)]
  part <- as.matrix(tcrossprod(x[wanted, ])) / ncol(x)
  values <- eigen(part, symmetric = TRUE, only.values = TRUE)$values[1:10]
  say("result", genes, digest::digest(signif(values, 10), algo = "xxhash64"))
}

arguments <- commandArgs(trailingOnly = TRUE)
object <- if (length(arguments) == 2) load_counts(arguments[[1]], as.integer(arguments[[2]])) else readRDS(arguments[[1]])
invisible(gc())
say("loaded", format(object.size(object), units = "GiB"))

input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  words <- strsplit(line, " ")[[1]]
  if (words[[1]] == "save") {
    saveRDS(object, words[[2]], compress = words[[3]] == "gzip")
    say("saved")
  } else {
    try_genes(object, as.integer(words[[2]]))
  }
}
told <- file.path(Sys.getenv("TMPDIR", "/tmp"), ".ebb-clone.json")
if (file.exists(told)) try_genes(object, as.integer(jsonlite::fromJSON(told)$arguments$genes))
