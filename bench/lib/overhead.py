"""Benches of programs that fit in DRAM: what it costs to run them under Ebbtide all the same. Bare and Ebbtide alternate,
first one then the other, so that drift of the machine hits both; the figure is the median of the pairs' ratios.
"""

import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile

import arms
import machine
from figures import Figure, paired, unavailable

BUDGET = 12 << 30  # no program below comes near it
AT_HAND_MIB = 1536  # that the host has given, for each run

R_SCRIPT = """set.seed(1); m <- matrix(rnorm(1e6), 1000); s <- svd(crossprod(m))$d
words <- paste0('gene', sample(1e5, 1e6, TRUE)); t <- sort(table(words), decreasing = TRUE)
l <- lapply(1:3e5, function(i) list(i, letters[i %% 26 + 1])); cat(sum(s), length(t), length(l))"""

PYTHON_SCRIPT = """import numpy as np
r = np.random.default_rng(1)
a = r.standard_normal((1000, 1000)); b = np.linalg.svd(a @ a.T, compute_uv=False)
d = {i: [str(i), (i, i + 1)] for i in range(800_000)}
c = [np.sort(r.standard_normal(200_000)) for _ in range(40)]
print(b.sum(), len(d), sum(x[0] for x in c))"""


class Overhead:
    def __init__(self, build, source, disk, quick):
        self.build, self.source, self.disk, self.quick = build, source, disk, quick
        self.pairs = 3 if quick else 10

    # --- running ------------------------------------------------------------------------------------------------------
    def _once(self, arm, command, before=None, **common):
        if before:
            subprocess.run(before, check=True, capture_output=True)
        with tempfile.NamedTemporaryFile(mode="r", prefix="ebb-bench-") as log:
            if arm == "ebb":
                result = arms.run_ebb(command, BUDGET, f"file:{self.disk}", options=["-q"], log=log.name, **common)
            else:
                result = arms.run_bare(command, log=log.name, **common)
            result["text"] = log.read()
        if result["exit_code"] != 0:
            raise machine.Unavailable(f"{arm}: exit code {result['exit_code']}: {result['text'][-300:]!r}")
        return result

    def _pairs(self, command, pairs, **how):
        self._once("bare", command, **how)  # warms the page cache for both
        walls = {"bare": [], "ebb": []}
        for i in range(pairs):
            for arm in ("bare", "ebb") if i % 2 == 0 else ("ebb", "bare"):
                with machine.memory_at_hand(AT_HAND_MIB):
                    walls[arm].append(self._once(arm, command, **how)["wall_s"])
        return walls

    # --- real programs ------------------------------------------------------------------------------------------------
    def _jobs(self, folder):
        """(name, command, command that runs unmeasured before each, or None); missing programs are left out by name."""
        yield "R", ["Rscript", "-e", R_SCRIPT], None
        # The system's Python: it is the one that has the system's NumPy.
        yield "Python and NumPy", ["/usr/bin/python3", "-c", PYTHON_SCRIPT], None

        sam = os.path.join(folder, "reads.sam")
        with open(sam, "w", encoding="ascii") as out:
            out.write("@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:100000000\n")
            for i in range(400_000):
                position = (i * 7919) % 99_999_000 + 1
                out.write(f"r{i}\t0\tchr1\t{position}\t60\t50M\t*\t0\t0\t{'ACGTT' * 10}\t{'I' * 50}\n")
        yield "samtools", ["samtools", "sort", "-o", os.path.join(folder, "sorted.bam"), sam], None

        java = os.path.join(folder, "Many.java")
        with open(java, "w", encoding="ascii") as out:
            for i in range(3000):
                out.write(f"class C{i} {{ int f(int x) {{ return x * {i} + new C{max(i - 1, 0)}().hashCode(); }} }}\n")
        yield "JVM (javac)", ["javac", "-d", os.path.join(folder, "classes"), java], None

        repository = os.path.join(folder, "repository")
        subprocess.run(["git", "init", "-q", repository], check=True)
        for i in range(3000):
            with open(os.path.join(repository, f"f{i}.txt"), "w", encoding="ascii") as out:
                out.write("".join(f"line {j} of {i}\n" for j in range(i % 300 + 50)))
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        subprocess.run(["git", "-C", repository, "add", "."], check=True)
        subprocess.run(["git", "-C", repository, *identity, "commit", "-q", "-m", "bench"], check=True)
        yield "git", ["git", "-C", repository, "repack", "-adfq", "--window=50"], None

        source = os.path.join(self.source, "bench", "programs", "overcommit.cc")
        yield "gcc", ["g++", "-std=c++20", "-O2", "-c", source, "-o", os.path.join(folder, "overcommit.o")], None

        own = os.path.join(folder, "build")
        subprocess.run(["cmake", "-S", self.source, "-B", own, "-G", "Ninja", "-DEBB_TESTS=OFF", "-DEBB_BENCH=OFF"],
                       check=True, capture_output=True)
        yield "ninja, our own build", ["ninja", "-C", own, "ebb_core"], ["ninja", "-C", own, "-t", "clean"]

    def fits(self):
        goal = "geometric mean at most 1.01, worst 1.03"
        ratios, left_out = {}, []
        with tempfile.TemporaryDirectory(prefix="ebb-bench-", dir=self.disk) as folder:
            for name, command, before in self._jobs(folder):
                shown = " ".join(command[:3]).split("\n")[0] + (" ..." if len(command) > 3 or "\n" in command[2] else "")
                shown = shown.replace(folder, "WORK").replace(self.source, "SOURCE")
                if not shutil.which(command[0]):
                    left_out.append(name)
                    yield unavailable(f"fits: {name}", shown, f"{command[0]} is not installed")
                    continue
                try:
                    walls = self._pairs(command, self.pairs, before=before)
                except (machine.Unavailable, subprocess.CalledProcessError) as reason:
                    left_out.append(name)
                    yield unavailable(f"fits: {name}", shown, reason)
                    continue
                ratio, low, high = paired(walls["bare"], walls["ebb"])
                ratios[name] = ratio
                yield Figure(f"fits: {name}", shown, {k: statistics.median(v) for k, v in walls.items()}, "s", ratio,
                             "at most 1.03", ratio <= 1.03, f"{self.pairs} pairs, ratio in [{low:.3f}, {high:.3f}]", walls)
        if ratios:
            mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
            met = mean <= 1.01 and max(ratios.values()) <= 1.03
            yield Figure("fits: geometric mean", ", ".join(ratios), {"worst": max(ratios.values())}, "x", mean, goal,
                         None if left_out else met, f"without {', '.join(left_out)}" if left_out else "")

    # --- starting small programs --------------------------------------------------------------------------------------
    def true(self):
        starts = 200 if self.quick else 1000
        loop = f"i=0; while [ $i -lt {starts} ]; do /bin/true; i=$((i+1)); done"
        shown = f"sh -c '{starts} times /bin/true'"
        try:
            walls = self._pairs(["/bin/sh", "-c", loop], min(self.pairs, 5))
        except machine.Unavailable as reason:
            yield unavailable("start of a small program", shown, reason)
            return
        each = {arm: statistics.median(v) / starts * 1e3 for arm, v in walls.items()}
        extra = each["ebb"] - each["bare"]
        yield Figure("start of a small program", shown, {**each, "more": extra}, "ms", each["ebb"] / each["bare"],
                     "at most 0.3 ms more", extra <= 0.3, raw=walls)

    # --- malloc -------------------------------------------------------------------------------------------------------
    def malloc(self):
        program = os.path.join(self.build, "bin", "micro_heap")
        for options in ([], ["--grown"]):
            command = [program, *options, "--benchmark_format=json", "--benchmark_enable_random_interleaving=true",
                       f"--benchmark_min_time={0.05 if self.quick else 0.3}"]
            shown = " ".join(["micro_heap", *options])
            name = "malloc" + (", process has grown" if options else "")
            try:
                # Twice each, alternating; the better of the two is what the allocator can do.
                times = {"bare": {}, "ebb": {}}
                for arm in ("bare", "ebb", "ebb", "bare"):
                    text = self._once(arm, command)["text"]
                    for b in json.loads(text[text.index("{\n"):text.rindex("}") + 1])["benchmarks"]:
                        if b.get("run_type", "iteration") == "iteration":
                            at = times[arm].setdefault(b["name"], math.inf)
                            times[arm][b["name"]] = min(at, b["real_time"])
                ratios = {k: times["ebb"][k] / t for k, t in times["bare"].items()}
            except (machine.Unavailable, ValueError, KeyError) as reason:
                yield unavailable(name, shown, reason)
                continue
            mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
            worst = max(ratios, key=ratios.get)
            yield Figure(name, shown, {"worst": ratios[worst], "best": min(ratios.values())}, "x", mean,
                         "not slower than glibc in the geometric mean", mean <= 1.0, f"worst: {worst}", times)
