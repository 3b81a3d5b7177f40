"""Programs that take snapshots of themselves, in R: inside_r.py EBB COUNTER PACKAGE_LIBRARY."""
import os
import shutil
import sys

import job
from job import EBB, ROOT, Job, check, check_equal, cloned, restored

os.environ["R_LIBS"] = sys.argv[3]

PROGRAM = """
library(ebb)
library(parallel)
RNGkind("L'Ecuyer-CMRG")
set.seed(1)
ran <- character()
ebb_before_snapshot(function() ran <<- c(ran, "b1"))
ebb_before_snapshot(function() ran <<- c(ran, "b2"))
ebb_after_snapshot(function() ran <<- c(ran, "a"))
ebb_after_restore(function() ran <<- c(ran, "r1"))
ebb_after_restore(function() ran <<- c(ran, "r2"))
x <- sqrt(seq_len(as.numeric(commandArgs(TRUE)[1]) * 131072))
cat("ready", ebb_available(), length(ebb_arguments()), "\\n")
input <- file("stdin")
open(input)
repeat {
  words <- strsplit(readLines(input, n = 1), " ")
  if (length(words) == 0) break
  ran <- character()
  state <- tryCatch(ebb_snapshot(words[[1]][1], reseed = words[[1]][2] == "reseed"), error = conditionMessage)
  given <- unlist(attr(state, "arguments"))
  cat(ran, state, state == "running", names(given), given, sum(x), dir.exists(tempdir()),
      unlist(mclapply(1:2, function(i) runif(1), mc.cores = 2)), runif(1), "\\n")
}
"""
BARE = """
library(ebb)
cat(ebb_available(), tryCatch(ebb_snapshot("x"), error = conditionMessage), "\\n")
"""


def script(text):
    path = os.path.join(ROOT, "program.R")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def there_and_back(tag, mib):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    program = Job([EBB, "run", "-q", "-d", "128M", "-s", f"file:{slow}", "--", "Rscript", "--vanilla", script(PROGRAM), str(mib)])
    check_equal(program.process.stdout.readline(), "ready TRUE 0 \n", f"{tag}: at first")
    original = program.ask(f"{tag} reseed").split()
    check_equal(original[:5], ["b2", "b1", "a", "running", "TRUE"], f"{tag}: the original")
    check("already" in program.ask(f"{tag} reseed"), f"{tag}: the tag is taken")
    total = original[5]
    kept = program.ask(f"{tag}-kept keep").split()[-3:]
    check_equal(program.end(), 0, f"{tag}: exit code")
    numbers = original[-3:]
    for again, given in ((restored(tag), []), (cloned(tag, "--arg", "k=5"), ["k", "5"]), (cloned(tag), [])):
        found = again.process.stdout.readline().split()
        check_equal(found[:-3], ["b2", "b1", "r1", "r2", "restored", "FALSE", *given, total, "TRUE"], f"{tag}: restored")
        numbers += found[-3:]
        check_equal(again.end(), 0, f"{tag}: exit code of what was restored")
    check_equal(len(set(numbers)), len(numbers), f"{tag}: each draws numbers of its own, in children, too: {numbers}")
    again = restored(f"{tag}-kept")
    check_equal(again.process.stdout.readline().split()[-3:], kept, f"{tag}: the same numbers where that is asked for")
    check_equal(again.end(), 0, f"{tag}: exit code of the last")


def fits():
    there_and_back("fits", 16)


def paged():
    there_and_back("paged", 160)


def without_the_library():
    program = Job(["Rscript", "--vanilla", script(BARE)])
    check_equal(program.process.stdout.readline(),
                "FALSE Ebbtide's library is not in this process: start it by ebb run \n", "without the library")
    check_equal(program.end(), 0, "exit code")


if not shutil.which("Rscript") or not os.path.isdir(os.path.join(os.environ["R_LIBS"], "ebb")):
    print("SKIP: no R, or the package was not built for want of R's headers")
    job.finish(77)
job.require_criu()
job.run_all([fits, paged, without_the_library], 60)
