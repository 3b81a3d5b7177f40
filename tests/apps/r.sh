# R: vectors, data frames, a sort and a model over some 300 MB, and parallel::mclapply with two workers.
# needs: Rscript
# dram: 96M
# evicts: yes
work() {
  cat >work.R <<'P'
set.seed(1)
v <- runif(8e6)
cat(format(sum(v), digits = 15), format(sum(sort(v)[seq(1, 8e6, 1000)]), digits = 15), "\n")
d <- data.frame(g = sample(letters, 2e6, TRUE), x = rnorm(2e6), y = rnorm(2e6))
print(aggregate(x ~ g, d, mean))
print(coef(lm(y ~ x, d[1:200000, ])))
l <- lapply(1:200000, function(i) list(i, as.character(i)))
cat(sum(vapply(l, function(e) nchar(e[[2]]), 0L)), "\n")
r <- parallel::mclapply(1:4, function(i) { w <- v[seq(i, 8e6, 4)] * i; c(sum(w), sum(d$x) + i) }, mc.cores = 2)
print(r, digits = 15)
invisible(gc())
cat(format(sum(v), digits = 15), "\n")
P
  Rscript --vanilla work.R
}
