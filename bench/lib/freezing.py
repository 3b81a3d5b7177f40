"""Benches of snapshots: a job that holds a large heap is frozen, brought back and copied, beside R's own saveRDS and
readRDS. The jobs are real R and Python processes under `ebb run`; every answer is checked against the one before.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from figures import Figure
from machine import memory_at_hand

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "programs"))
from job_page import JobPage  # noqa: E402

PYTHON = "/usr/bin/python3"  # Debian's, which has NumPy

# A heap of MIB that does not compress, a thread that looks at the clock every millisecond, and commands on standard input:
# "sum" reads one page of every MIB; "write N" writes to all pages of the first N MIB; "gap" is the longest that the thread
# waited since it was last asked, in milliseconds; "all" is the hash of everything.
HOLDER = """
import hashlib, sys, threading, time
import numpy as np
mib = int(sys.argv[1])
random = np.random.default_rng(1)
data = [random.integers(0, 256, 1 << 20, dtype=np.uint8) for _ in range(mib)]
longest = [0.0]
def beat():
    last = time.monotonic()
    while True:
        time.sleep(0.001)
        now = time.monotonic()
        longest[0] = max(longest[0], now - last)
        last = now
threading.Thread(target=beat, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "sum":
        print(sum(int(block[4096]) for block in data[::16]), flush=True)
    elif word == "write":
        for block in data[: int(rest[0])]: block[::4096] += 1
        print("written", flush=True)
    elif word == "gap":
        print(round(longest[0] * 1000, 1), flush=True)
        longest[0] = 0.0
    elif word == "all":
        digest = hashlib.blake2b()
        for block in data: digest.update(block)
        print(digest.hexdigest(), flush=True)
"""

# One numeric vector of MIB; "sum" is that of a part of it, anything else a file to save it to and load it from.
R_SESSION = """
x <- runif(as.numeric(commandArgs(TRUE)[1]) * 131072)
part <- seq(1, length(x), by = 1000003)
cat("ready\\n")
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  if (line == "sum") cat(sprintf("%.10f\\n", sum(x[part])))
  else {
    compress <- endsWith(line, ".gz.rds")
    save <- system.time(saveRDS(x, line, compress = compress))[["elapsed"]]
    load <- system.time(x <- readRDS(line))[["elapsed"]]
    cat(sprintf("%.3f %.3f\\n", save, load))
  }
}
"""


class Freezing:
    def __init__(self, build, disk, memory_tier, quick):
        self.ebb = os.path.join(build, "bin", "ebb")
        self.folder = tempfile.mkdtemp(prefix="ebb-bench-", dir=disk)
        self.memory_tier = memory_tier
        self.gib = 2 if quick else 12
        self.runs = 5 if quick else 20
        os.environ["EBB_SNAPSHOTS"] = os.path.join(self.folder, "snapshots")

    def clear(self):
        """The snapshots of 12 GiB of one bench are in the way of the next one's."""
        for name in os.listdir(self.folder):
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _empty_caches():
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
            caches.write("3")

    # --- jobs ---------------------------------------------------------------------------------------------------------
    def _job(self, command, budget_mib, name, tier=None):
        job = subprocess.Popen([self.ebb, "run", "-q", "-d", f"{budget_mib}M", "-s", f"file:{tier or self.folder}", "--name", name,
                                "--clean-ahead", "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer(job, "ready")
        return job

    @staticmethod
    def _wait_until_clean(job):
        """Until nothing has been written ahead for twenty seconds: there are up to eight between two walks."""
        page = JobPage.of_run(job.pid)
        seen, since = 0, time.monotonic()
        while seen == 0 or time.monotonic() - since < 20:
            now = page.cleaned_bytes
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.1)
        page.close()

    @staticmethod
    def _answer(job, wanted=None):
        line = job.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            raise RuntimeError(f"the job said {line!r} instead of {wanted!r}")
        return line

    def _ask(self, job, line, wanted=None):
        job.stdin.write(line + "\n")
        job.stdin.flush()
        return self._answer(job, wanted)

    @staticmethod
    def _end(job):
        job.stdin.close()
        job.wait()

    def _snapshot(self, job, tag, *options):
        start = time.monotonic()
        done = subprocess.run([self.ebb, "snapshot", job, tag, "-q", "--print-stats", *options], check=True,
                              stdout=subprocess.PIPE, text=True)
        return time.monotonic() - start, json.loads(done.stdout)

    def _restore(self, tag, command="restore", line="sum", wanted=None):
        """Seconds to the first right answer, and the job."""
        start = time.monotonic()
        job = subprocess.Popen([self.ebb, command, tag], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask(job, line, wanted)
        return time.monotonic() - start, job

    def _disk(self, tag):
        return int(subprocess.run(["du", "-s", "--block-size=1", os.path.join(os.environ["EBB_SNAPSHOTS"], tag)], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.split()[0])

    # --- benches ------------------------------------------------------------------------------------------------------
    def pause(self):
        """The longest gap that a thread of the job saw, for two sizes of heap, with 256 MiB written since the last cleaning
        (each snapshot cleans); then the restores to the first answer."""
        p95, restore = {}, {}
        for gib in (max(self.gib // 4, 1), self.gib):
            job = self._job([PYTHON, "-c", HOLDER, str(gib << 10)], gib * 512, "pause")
            first = self._ask(job, "sum")
            self._snapshot("pause", f"pause-{gib}", "--leave-running", "--wait", "persisted")
            gaps = []
            for _ in range(self.runs):
                self._ask(job, "write 256", "written")
                self._ask(job, "gap")
                self._snapshot("pause", f"pause-{gib}", "--leave-running", "--replace", "--wait", "persisted")
                gaps.append(float(self._ask(job, "gap")))
            first = self._ask(job, "sum")
            self._snapshot("pause", f"pause-{gib}", "--replace")
            job.wait()
            p95[gib] = sorted(gaps)[int(len(gaps) * 0.95) - (len(gaps) < 20)]
            for line, wanted in (("gap", None), ("sum", first)):
                seconds = []
                for _ in range(self.runs):
                    taken, job = self._restore(f"pause-{gib}", line=line, wanted=wanted)
                    seconds.append(taken)
                    self._end(job)
                restore[line, gib] = 1000 * statistics.median(seconds)
        small, large = sorted(p95)
        command = f"--dram {large * 512}M -- python3 (heap of {large} GiB); ebb snapshot --leave-running"
        slope = (p95[large] - p95[small]) / (large - small)
        yield Figure("pause seen by the job, 256 MiB written before", command, {"p95": p95[large], "slope a GiB": slope}, "ms",
                     p95[large], "at most 150 ms, slope at most 3 ms a GiB", p95[large] <= 150 and slope <= 3,
                     f"heap of {small} GiB: {p95[small]:.1f} ms; {self.runs} snapshots each")
        for line, what in (("gap", "an answer that reads none of the heap"), ("sum", "an answer that reads 64 pages a GiB")):
            at = restore[line, large]
            slope = (at - restore[line, small]) / (large - small)
            yield Figure(f"restore to {what}, caches warm", "ebb restore", {"p50": at, "slope a GiB": slope}, "ms", at,
                         "at most 200 ms, slope at most 2 ms a GiB", at <= 200 and slope <= 2,
                         f"heap of {small} GiB: {restore[line, small]:.0f} ms; {self.runs} restores each")

    def cold(self):
        """Restores to the first answer with nothing of the snapshot in the page cache. Needs root, to empty it."""
        job = self._job([PYTHON, "-c", HOLDER, str(self.gib << 10)], self.gib * 512, "cold")
        first = self._ask(job, "sum")
        self._wait_until_clean(job)
        self._snapshot("cold", "cold", "--wait", "persisted")
        job.wait()
        seconds = []
        for _ in range(5):
            self._empty_caches()
            taken, job = self._restore("cold", wanted=first)
            seconds.append(1000 * taken)
            self._end(job)
        at = statistics.median(seconds)
        yield Figure("restore to an answer that reads 64 pages a GiB, caches cold", "ebb restore",
                     {"p50": at, "longest": max(seconds)}, "ms", at, "at most 500 ms", at <= 500,
                     f"file tier; heap of {self.gib} GiB; 5 restores")

    def delta(self):
        """What a second snapshot takes on the disk when 1 % of the heap has changed."""
        yield self._second_snapshot(self.gib, self.folder, "file tier", None)

    def delta_memory(self):
        folder = tempfile.mkdtemp(prefix="ebb-bench-", dir=self.memory_tier)
        before = os.environ["EBB_SNAPSHOTS"]
        os.environ["EBB_SNAPSHOTS"] = os.path.join(folder, "snapshots")
        try:
            yield self._second_snapshot(self.gib * 2 // 3, folder, f"slow tier and snapshots in {self.memory_tier}", 400)
        finally:
            os.environ["EBB_SNAPSHOTS"] = before
            shutil.rmtree(folder, ignore_errors=True)

    def _second_snapshot(self, gib, tier, where, most_ms):
        mib = gib << 10
        job = self._job([PYTHON, "-c", HOLDER, str(mib)], mib // 2, "delta", tier)
        self._wait_until_clean(job)
        self._snapshot("delta", "first", "--leave-running", "--wait", "persisted")
        self._ask(job, f"write {mib // 100}", "written")
        with memory_at_hand(2048):
            taken, _ = self._snapshot("delta", "second", "--wait", "persisted")
        job.wait()
        shared = self._disk("first")
        both = int(subprocess.run(["du", "-sc", "--block-size=1", *(os.path.join(os.environ["EBB_SNAPSHOTS"], tag)
                                                                  for tag in ("first", "second"))], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.split("\n")[2].split()[0])
        changed = (mib // 100) << 20
        stored = both - shared
        met = stored <= 1.2 * changed and (most_ms is None or 1000 * taken <= most_ms)
        return Figure("second snapshot after 1 % changed", "ebb snapshot --wait persisted", {"stored": stored / 2**20,
                      "changed": changed / 2**20, "persisted after, ms": 1000 * taken}, "MiB", stored / changed,
                      "at most 1.2x the changed bytes, persisted within 400 ms on a memory-speed tier", met,
                      f"{where}; heap of {gib} GiB")

    def clones(self):
        """Copies that are all ready."""
        mib, count = (1024, 5) if self.runs < 20 else (4096, 25)
        job = self._job([PYTHON, "-c", HOLDER, str(mib)], mib // 2, "clones")
        first = self._ask(job, "sum")
        self._snapshot("clones", "clones")
        job.wait()
        with memory_at_hand(mib):
            start = time.monotonic()
            copies = [subprocess.Popen([self.ebb, "clone", "clones"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                      for _ in range(count)]
            for copy in copies:
                self._ask(copy, "sum", first)
            taken = time.monotonic() - start
            idle = self._idle_memory(copies)
        for copy in copies:
            self._end(copy)
        yield Figure(f"{count} clones of a heap of {mib >> 10} GiB, all ready", "ebb clone", {"all": taken}, "s", taken,
                     "25 of 4 GiB within 5 s", taken <= 5 if count == 25 else None, "one `ebb clone` each, at once")
        most, middle = max(idle) / (1 << 20), statistics.median(idle) / (1 << 20)
        yield Figure("an idle clone's own share of memory", "ebb clone", {"median": middle, "most": most}, "MiB", most,
                     "at most 40 MiB", most <= 40, f"{count} clones; proportional set size (smaps_rollup) of all its processes and of "
                     "the command that waits for it, two seconds after the last answer")

    @staticmethod
    def _idle_memory(copies):
        """Bytes of each."""
        time.sleep(2)  # what is done in the background has come to rest
        out = []
        for copy in copies:
            pids = [copy.pid]
            for pid in pids:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
                    pids += [int(word) for word in children.read().split()]
            rollups = [open(f"/proc/{pid}/smaps_rollup", encoding="ascii").read() for pid in pids]
            out.append(sum(int(line.split()[1]) << 10 for text in rollups for line in text.splitlines() if line.startswith("Pss:")))
        return out

    def rds(self):
        """R: save and load by its own functions, against snapshot and restore to the first answer."""
        yield self._against_rds("uncompressed", "x.rds", 40)

    def rds_gzip(self):
        """The same with saveRDS() as it comes: minutes for each GiB."""
        yield self._against_rds("gzip", "x.gz.rds", 1000)

    def _against_rds(self, kind, file, goal):
        # Under `ebb run` with three quarters of what the vector needs, as all of it; frozen when it was left alone until all of
        # it was written ahead.
        mib = self.gib * 2 // 3 << 10 if self.gib > 2 else 1024
        path = os.path.join(self.folder, file)
        job = self._job(["Rscript", "--vanilla", "-e", R_SESSION, str(mib)], mib * 3 // 4, "rds")
        first = self._ask(job, "sum")
        save, load = map(float, self._ask(job, path).split())
        os.unlink(path)
        self._wait_until_clean(job)
        taken, stats = self._snapshot("rds", kind)
        job.wait()
        back, job = self._restore(kind, wanted=first)
        self._end(job)
        ratio = (save + load) / (taken + back)
        return Figure(f"R, {kind} saveRDS and readRDS against snapshot and restore", f"x <- runif({mib} MiB)",
                      {"saveRDS": save, "readRDS": load, "snapshot": taken, "restore": back}, "s", ratio,
                      f"at least {goal:,}x", ratio >= goal, f"stopped {stats['paused_us'] / 1000:.0f} ms")
