# Writes the expression profile that demo/make_counts.py scales up: for each gene its mean share of a cell's
# molecules and its squared coefficient of variation, from the 271 human muscle cells in Debian's r-bioc-hsmmsinglecell.
#
#   Rscript profile.R PROFILE.tsv
out <- commandArgs(trailingOnly = TRUE)[[1]]
source_data <- new.env()
data("HSMM_expr_matrix", package = "HSMMSingleCell", envir = source_data)
expression <- source_data$HSMM_expr_matrix
expression <- expression[rowMeans(expression > 0) >= 0.01, ]  # genes seen in at least three cells
share <- sweep(expression, 2, colSums(expression), "/")
mean_share <- rowMeans(share)
cv2 <- apply(share, 1, var) / mean_share^2
keep <- mean_share > 1e-8
write.table(data.frame(rownames(share), signif(mean_share / sum(mean_share[keep]), 8), signif(cv2, 8))[keep, ],
            out, sep = "\t", quote = FALSE, row.names = FALSE, col.names = FALSE)
