"""What becomes of a job that came back, and stock CRIU beside us: jobs of freezing.py, and plain ones without managed memory."""

import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from figures import Figure
from freezing import HOLDER, PYTHON, Freezing
from machine import memory_at_hand

# Two matrices are made, then, asked for "phase", combined, sorted and summed; the answer is the sum and the seconds.
PHASES = """
import sys, time
import numpy as np
side = int(sys.argv[1])
random = np.random.default_rng(1)
a, b = random.random((side, side)), random.random((side, side))
print("ready", flush=True)
for line in sys.stdin:
    start = time.monotonic()
    c = np.sqrt(a) * b
    d = np.sort(a, axis=1)
    e = (b * 2.0 - a).cumsum(axis=1)
    print(repr(float(c.sum() + d[:, 5].sum() + e[:, -1].sum())), time.monotonic() - start, flush=True)
    del c, d, e
"""

# Six kinds of cells with markers of their own; the next phase is Seurat's way from counts to clusters. The answer as above.
R_PHASES = """
suppressPackageStartupMessages({ library(Matrix); library(Seurat) })
set.seed(1)
cells <- as.integer(commandArgs(TRUE)[1])
genes <- function(n, density, mean) rsparsematrix(n, cells, density, rand.x = function(k) rpois(k, mean) + 1)
counts <- do.call(cbind, lapply(1:6, function(kind) rbind(genes(19400, 0.06, 1), do.call(rbind, lapply(1:6, function(other)
  genes(100, if (other == kind) 0.5 else 0.05, if (other == kind) 6 else 1))))))
dimnames(counts) <- list(paste0("g", seq_len(nrow(counts))), paste0("c", seq_len(ncol(counts))))
object <- CreateSeuratObject(counts)
rm(counts)
invisible(gc())
cat("ready\n")
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  start <- proc.time()[["elapsed"]]
  done <- FindVariableFeatures(NormalizeData(object, verbose = FALSE), verbose = FALSE)
  done <- RunPCA(ScaleData(done, verbose = FALSE), npcs = 20, verbose = FALSE)
  done <- FindClusters(FindNeighbors(done, dims = 1:20, verbose = FALSE), verbose = FALSE)
  answer <- digest::digest(list(Embeddings(done, "pca"), as.character(Idents(done))), algo = "xxhash64")
  cat(answer, proc.time()[["elapsed"]] - start, "\n")
}
"""

# Memory of MIB that nobody manages; answers every line.
PLAIN = """
import sys
data = bytearray(b"x") * (int(sys.argv[1]) << 20)
print("ready", flush=True)
for line in sys.stdin: print(data[len(data) // 2], flush=True)
"""


class Returning(Freezing):
    def __init__(self, build, disk, memory_tier, quick):
        super().__init__(build, disk, memory_tier, quick)
        self.pairs = 2 if quick else 5

    # --- what was in DRAM comes back --------------------------------------------------------------------------------------
    def resident(self):
        """Until all of a heap that fits is in DRAM again, from a cold cache, beside the device's own speed (fio, on the
        snapshot's largest file)."""
        mib = self.gib * 2 // 3 << 10
        job = self._job([PYTHON, "-c", HOLDER, str(mib)], mib + mib // 4, "resident")
        first = self._ask(job, "sum")
        self._wait_until_clean(job)
        self._snapshot("resident", "resident", "--wait", "persisted")
        job.wait()
        heap = os.path.join(os.environ["EBB_SNAPSHOTS"], "resident", "heap")
        largest = max((os.path.join(heap, name) for name in os.listdir(heap)), key=os.path.getsize)
        speeds, devices, firsts = [], [], []
        for _ in range(3):
            devices.append(self._device_speed(largest))
            self._empty_caches()
            with memory_at_hand(2 * mib + 1536):  # the page cache takes as much as the heap
                start = time.monotonic()
                taken, job = self._restore("resident", wanted=first)
                firsts.append(1000 * taken)
                speeds.append(self._until_resident(job, mib << 20) / (time.monotonic() - start))
                self._end(job)
        speed, device = statistics.median(speeds), statistics.median(devices)
        yield Figure("all of a heap that fits resident again, caches cold", "ebb restore",
                     {"Ebbtide": speed / 1e9, "fio": device / 1e9}, "GB/s", speed / device, "90 % of the device's read speed",
                     speed >= 0.9 * device, f"heap of {mib >> 10} GiB, from the start of `ebb restore`; first answer after "
                     f"{statistics.median(firsts):.0f} ms; 3 in turn with fio: 2 MiB, eight at once, O_DIRECT")

    def _device_speed(self, file):
        done = subprocess.run(["fio", "--name=read", f"--filename={file}", "--rw=read", "--bs=2M", "--direct=1", "--iodepth=8",
                               "--ioengine=io_uring", "--readonly", "--runtime=20", "--output-format=json"], check=True,
                              stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)["jobs"][0]["read"]["bw_bytes"]

    @staticmethod
    def _until_resident(job, wanted):
        """Bytes that are resident once no more come for a second, or all have."""
        child = int(open(f"/proc/{job.pid}/task/{job.pid}/children", encoding="ascii").read().split()[0])
        seen, since = 0, time.monotonic()
        while seen < wanted and time.monotonic() - since < 1:
            with open(f"/proc/{child}/status", encoding="ascii") as text:  # costs the job nothing, as smaps would
                now = next(int(line.split()[1]) << 10 for line in text if line.startswith("RssAnon:"))
            if now > seen:
                seen, since = now, time.monotonic()
            time.sleep(0.02)
        return seen

    # --- the next phase -----------------------------------------------------------------------------------------------------
    def phase(self):
        """NumPy: seconds long, and it begins by reading all that came back."""
        side = 4000 if self.runs < 20 else 8000
        yield self._next_phase(f"NumPy, two matrices of {side * side * 8 >> 20} MiB", [PYTHON, "-c", PHASES, str(side)],
                               (side * side * 8 * 7 >> 20) + 512)

    def phase_r(self):
        """R: what a Seurat session does next once its counts are loaded."""
        cells = 500 if self.runs < 20 else 2500
        script = os.path.join(self.folder, "phases.R")
        with open(script, "w", encoding="ascii") as out:
            out.write(R_PHASES)
        yield self._next_phase(f"Seurat from counts to clusters, {6 * cells} cells", ["Rscript", script, str(cells)], 4096)

    def _next_phase(self, what, command, mib):
        """The next phase of a job that came back from a snapshot, against the same of one that was never frozen; in turn."""
        never, back = [], []
        for _ in range(self.pairs):
            job = self._job(command, mib, "phase")
            self._wait_until_clean(job)
            with memory_at_hand(mib):
                answer, seconds = self._ask(job, "phase").split()
            never.append(float(seconds))
            self._end(job)
            job = self._job(command, mib, "phase")
            self._wait_until_clean(job)
            self._snapshot("phase", "phase", "--wait", "persisted")
            job.wait()
            with memory_at_hand(mib):
                job = subprocess.Popen([self.ebb, "restore", "phase"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                again, seconds = self._ask(job, "phase").split()
            back.append(float(seconds))
            if again != answer:
                raise RuntimeError(f"answer {again} after the restore, {answer} without")
            self._end(job)
            subprocess.run([self.ebb, "snapshots", "rm", "phase"], check=True)
        ratios = [b / n for b, n in zip(back, never)]
        ratio = statistics.median(ratios)
        return Figure("the next phase after a restore, against a job that was never frozen", f"ebb restore ({what})",
                      {"never frozen": statistics.median(never), "restored": statistics.median(back)}, "s", ratio,
                      "at most 3 % slower", ratio <= 1.03, f"{self.pairs} pairs, {min(ratios):.2f} to {max(ratios):.2f}; page cache "
                      "warm")

    # --- stock CRIU ---------------------------------------------------------------------------------------------------------
    def _criu(self):
        for folder in ("criu/criu", "lib/ebbtide/criu/criu"):
            if os.access(os.path.join(os.path.dirname(os.path.dirname(self.ebb)), folder), os.X_OK):
                return os.path.join(os.path.dirname(os.path.dirname(self.ebb)), folder)
        return shutil.which("criu") or "/usr/sbin/criu"

    def _plain(self, mib):
        # In a session of its own with files for its streams: stock CRIU wants nothing of ours in it.
        folder = tempfile.mkdtemp(prefix="plain-", dir=self.folder)
        os.mkfifo(os.path.join(folder, "in"))
        reading = os.open(os.path.join(folder, "in"), os.O_RDWR)
        with open(os.path.join(folder, "out"), "wb") as out:
            job = subprocess.Popen([PYTHON, "-c", PLAIN, str(mib)], stdin=reading, stdout=out, stderr=out, start_new_session=True)
        while b"ready" not in open(os.path.join(folder, "out"), "rb").read():
            time.sleep(0.01)
        return job, reading, folder

    def _freeze_plain(self, job, arm, images):
        """Seconds until it is stored and has ended."""
        os.mkdir(images)
        start = time.monotonic()
        if arm == "ebb":
            subprocess.run([self.ebb, "snapshot", str(job.pid), "plain", "-q"], check=True)
        else:
            subprocess.run([self._criu(), "dump", "-t", str(job.pid), "-D", images, "-v0", "-o", "log"], check=True,
                           stdout=subprocess.DEVNULL)
        taken = time.monotonic() - start
        job.wait()
        return taken

    def _restore_plain(self, arm, images, writing, folder):
        """Seconds to its first answer."""
        start = time.monotonic()
        if arm == "ebb":
            subprocess.run([self.ebb, "restore", "plain", "--detach"], check=True, stderr=subprocess.DEVNULL)
        else:
            subprocess.run([self._criu(), "restore", "-D", images, "-d", "-v0", "-o", "log"], check=True,
                           stdout=subprocess.DEVNULL)
        os.write(writing, b"go\n")
        while b"120" not in open(os.path.join(folder, "out"), "rb").read():
            time.sleep(0.001)
        return time.monotonic() - start

    def _there_and_back(self, arm, mib):
        """Both of a plain process, and nothing is left of it."""
        job, writing, folder = self._plain(mib)
        images = os.path.join(folder, "images")
        taken = self._freeze_plain(job, arm, images)
        back = self._restore_plain(arm, images, writing, folder)
        end = os.pidfd_open(job.pid)
        signal.pidfd_send_signal(end, signal.SIGKILL)
        select.select([end], [], [], 10)
        os.close(end)
        os.close(writing)
        shutil.rmtree(folder)
        return taken, back

    def plain(self):
        """A process without managed memory: `ebb snapshot` against `criu dump`, in turn, and back again."""
        mib = 64
        taken, backs = {"ebb": [], "criu": []}, {"ebb": [], "criu": []}
        for number in range(2 * self.pairs):
            arm = ("ebb", "criu")[number % 2]
            freeze, back = self._there_and_back(arm, mib)
            taken[arm].append(1000 * freeze)
            backs[arm].append(1000 * back)
            if arm == "ebb":
                while subprocess.run([self.ebb, "snapshots", "rm", "plain"], stderr=subprocess.DEVNULL, check=False).returncode:
                    time.sleep(0.1)
        for what, times in (("snapshot of", taken), ("restore to the first answer of", backs)):
            ours, stock = (statistics.median(times[arm]) for arm in ("ebb", "criu"))
            yield Figure(f"{what} a plain process, against stock CRIU", f"Python, {mib} MiB", {"Ebbtide": ours, "CRIU": stock},
                         "ms", ours - stock, "at most 50 ms more", ours - stock <= 50, f"{self.pairs} each, in turn; all written to "
                         "the page cache")

    def stock(self):
        """Stock CRIU with the heap that the restores of `pause` have, without Ebbtide."""
        dump, back = self._there_and_back("criu", self.gib << 10)
        yield Figure("stock CRIU, the process stands still for the dump", f"Python, {self.gib} GiB", {"dump": dump, "restore": back},
                     "s", back, "beside our restore", None, "to the disk; restore right after the dump, to the first answer")
