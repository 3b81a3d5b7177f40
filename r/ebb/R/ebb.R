# Snapshots from inside an R program: docs/inside.md of Ebbtide.

hooks <- new.env()
hooks$before <- hooks$after <- hooks$restored <- list()

add_hook <- function(kind, f) {
  hooks[[kind]] <- c(hooks[[kind]], match.fun(f))
  invisible(f)
}

ebb_before_snapshot <- function(f) add_hook("before", f)
ebb_after_snapshot <- function(f) add_hook("after", f)
ebb_after_restore <- function(f) add_hook("restored", f)

ebb_available <- function() .Call(C_available)
ebb_arguments <- function() if (ebb_available()) .Call(C_arguments) else list()

# Clones must not draw the same numbers, nor their children: R's own seed is made of PID and time, which clones share.
seed_anew <- function() {
  random <- file("/dev/urandom", open = "rb", raw = TRUE)
  on.exit(close(random))
  words <- readBin(random, "integer", n = 2, size = 2, signed = FALSE)
  set.seed(words[1] %/% 2L * 65536L + words[2])
  if (isNamespaceLoaded("parallel")) getExportedValue("parallel", "mc.reset.stream")()
}

ebb_snapshot <- function(tag, replace = FALSE, persisted = FALSE, reseed = TRUE) {
  if (!is.character(tag) || length(tag) != 1 || is.na(tag)) stop("tag: one word, please")
  if (!ebb_available()) stop("Ebbtide's library is not in this process: start it by ebb run")
  for (f in rev(hooks$before)) f()
  flush(stdout())  # or it would be written twice
  result <- .Call(C_snapshot, tag, replace, persisted)
  restored <- identical(result, "restored")
  if (restored) {
    tempdir(check = TRUE)  # the original may have taken its own away
    if (reseed) seed_anew()
  }
  for (f in if (restored) hooks$restored else hooks$after) f()
  if (!restored && result != "running") stop(result, call. = FALSE)
  if (restored) structure(result, arguments = ebb_arguments()) else result
}
