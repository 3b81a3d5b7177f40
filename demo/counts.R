# Reads the first `wanted` cells of the counts that demo/make_counts.py wrote.
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
