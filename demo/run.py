"""The demo: two real single-cell analyses, each run bare, under Ebbtide with 40 % of the memory it needs, and under
kernel swap in a memory cgroup of the same size. Then five parameter values tried on one large object: loaded each time from
what saveRDS wrote, and in five copies of a frozen session. Ends in two tables.

    run.py [--work FOLDER] [--percent P] [--only R|Python|parameters] [--limit SECONDS]

The bare run comes first: its peak is the need. Every arm works on the same files on the same disk. Kernel
swap is stopped after --limit seconds, and the table says so. Exits with 0 if Ebbtide's results are the bare run's and
the process stayed within its budget, as seen from outside, and if the copies' results are those of what saveRDS kept.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bench", "lib"))
import arms  # noqa: E402
import machine  # noqa: E402
import parameters  # noqa: E402

PYTHON = "/usr/bin/python3"  # Debian's, which has the modules; the one on PATH may not
CELLS = {"R": 16_000, "Python": 25_000}  # R takes the first so many, Python all
DEPTH = 16_000
SWAP_BYTES = 8 << 30
DISK_NEED = 18 << 30
HANG = 5         # times the bare run: Ebbtide is stopped then
UNMANAGED = 256 << 20  # what a process may hold beside its budget: code, mapped files, stacks
# One thread each, and fixed seeds: only then is a program's output the same byte for byte from run to run.
FIXED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
         "PYTHONNOUSERSITE": "1"}


class Progress:
    """What is going on, on stderr: one line that is rewritten on a terminal, else one line for each new stage."""

    def __init__(self, title, log):
        self.title, self.log, self.stage = title, log, ""
        self.live = sys.stderr.isatty()

    def tick(self, elapsed):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as lines:
                stage = ([line[3:].strip() for line in lines if line.startswith("== ")] or ["starting"])[-1]
        except FileNotFoundError:
            stage = "starting"
        if self.live:
            print(f"\r\033[K{self.title:<18} {elapsed:5.0f} s  {stage}", end="", file=sys.stderr, flush=True)
        elif stage != self.stage:
            print(f"{self.title:<18} {elapsed:5.0f} s  {stage}", file=sys.stderr, flush=True)
        self.stage = stage

    def done(self, text):
        print(("\r\033[K" if self.live else "") + f"{self.title:<18} {text}", file=sys.stderr, flush=True)


def default_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "ebbtide-demo")


def gib(size):
    return f"{size / 2**30:.2f} GiB"


def check_machine(folder):
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    if available < 6 << 30:
        sys.exit(f"demo: the bare runs need about 5 GiB of free memory; {gib(available)} is available")
    if shutil.disk_usage(folder).free < DISK_NEED:
        sys.exit(f"demo: {folder} needs {gib(DISK_NEED)} of free disk (swap file, counts): choose another with --work")


def counts(work):
    """Generates the input once; returns its folder."""
    folder = os.path.join(work, f"counts-{max(CELLS.values())}-{DEPTH}")
    if os.path.isdir(folder):
        return folder
    partial, log = folder + ".partial", os.path.join(work, "counts.log")
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    if os.path.exists(log):
        os.unlink(log)
    progress = Progress("counts", log)
    profile = os.path.join(partial, "profile.tsv")
    for command in (["Rscript", os.path.join(HERE, "profile.R"), profile],
                    [PYTHON, os.path.join(HERE, "make_counts.py"), profile, partial, "--cells",
                     str(max(CELLS.values())), "--depth", str(DEPTH)]):
        result = arms.run_bare(command, env=FIXED, log=log, tick=progress.tick)
        if result["exit_code"] != 0:
            sys.exit(f"demo: making the counts failed, see {log}")
    os.rename(partial, folder)
    progress.done("made from 271 real cells")
    return folder


def hash_of(path):
    """sha256 over the names and bytes of a file, or of all files of a folder; None if there is nothing."""
    digest = hashlib.sha256()
    files = sorted(os.listdir(path)) if os.path.isdir(path) else [""]
    for name in files:
        try:
            with open(os.path.join(path, name) if name else path, "rb") as data:
                digest.update(name.encode() + b"\0" + hashlib.sha256(data.read()).digest())
        except FileNotFoundError:
            return None
    return digest.hexdigest() if files else None


def run_arm(language, arm, work, folder, budget, limit):
    out = os.path.join(work, f"out-{language}-{arm}" + (".rds" if language == "R" else ""))
    log = os.path.join(work, f"{language}-{arm}.log")
    shutil.rmtree(out, ignore_errors=True)
    for old in (out, log):
        if os.path.isfile(old):
            os.unlink(old)
    command = {"R": ["Rscript", os.path.join(HERE, "seurat.R"), folder, out, str(CELLS["R"])],
               "Python": [PYTHON, os.path.join(HERE, "anndata_pipeline.py"), folder, out]}[language]
    progress = Progress(f"{language}, {arm}", log)
    common = {"env": FIXED, "log": log, "tick": progress.tick}
    try:
        if arm == "bare":
            result = arms.run_bare(command, **common)
        elif arm == "ebbtide":
            result = arms.run_ebb(command, budget, f"file:{work}", timeout=limit, **common)
        else:
            result = arms.run_swap(command, budget, work, SWAP_BYTES, timeout=limit, **common)
    except machine.Unavailable as reason:
        progress.done(f"skipped: {reason}")
        return {"skipped": str(reason)}
    result["hash"] = hash_of(out)
    if result["timed_out"]:
        progress.done(f"stopped after {limit:.0f} s, while at: {progress.stage}")
    elif result["exit_code"] != 0:
        progress.done(f"failed with exit code {result['exit_code']}, see {log}")
    else:
        progress.done(f"{result['wall_s']:.1f} s, peak DRAM {gib(result['peak_dram_bytes'])}")
    return result


def row(language, arm, result, bare, budget):
    allowed = "" if arm == "bare" else gib(budget)
    if "skipped" in result:
        return (language, arm, allowed, "skipped", "", "", "")
    wall = f"{result['wall_s']:.1f} s"
    ratio = f"{result['wall_s'] / bare['wall_s']:.2f}x"
    same = "equal" if result["hash"] == bare["hash"] else "DIFFERENT"
    if result["timed_out"]:
        wall, ratio, same = f"more than {result['wall_s']:.0f} s", f"> {ratio}", "not finished"
    elif result["exit_code"] != 0:
        wall, ratio, same = f"exit code {result['exit_code']}", "", "failed"
    return (language, arm, allowed, wall, ratio, gib(result["peak_dram_bytes"]),
            result["hash"][:12] if arm == "bare" else same)


def print_table(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    print()
    for number, cells in enumerate(rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def try_parameters(folder, work):
    """The second half: its table, what there is to say about it, and whether its results are right."""
    doctor = json.loads(subprocess.run([arms.EBB, "doctor", "--json"], stdout=subprocess.PIPE, check=False).stdout)
    for line in doctor["checks"]:
        if line["id"] in ("criu", "criu_privilege", "pid_namespaces") and line["status"] != "ok":
            return [], [f"parameters: skipped, {line['title']}: {line['detail']}"], True
    start = time.monotonic()

    def tell(text):
        print(f"{'parameters':<18} {time.monotonic() - start:5.0f} s  {text}", file=sys.stderr, flush=True)
    try:
        rows, good = parameters.run(folder, work, FIXED, tell)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as failure:
        return [], [f"parameters: failed, {failure}"], False
    tell("done")
    return rows, [], good


def main():
    parser = argparse.ArgumentParser(description="two single-cell analyses: bare, under Ebbtide, under kernel swap")
    parser.add_argument("--work", default=default_folder(), help="folder on the disk to use (default: %(default)s)")
    parser.add_argument("--percent", type=float, default=40, help="DRAM of the need (default: %(default)s)")
    parser.add_argument("--only", choices=[*CELLS, "parameters"], help="one of the parts")
    parser.add_argument("--limit", type=float, default=120, help="seconds for kernel swap (default: %(default)s)")
    a = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    a.work = os.path.abspath(a.work)
    os.makedirs(a.work, mode=0o700, exist_ok=True)
    check_machine(a.work)
    start = time.monotonic()
    folder = counts(a.work)
    rows, notes, good = [], [], True
    for language in CELLS if not a.only else [a.only] if a.only in CELLS else []:
        bare = run_arm(language, "bare", a.work, folder, 0, None)
        if bare["exit_code"] != 0:
            sys.exit(f"demo: the {language} job does not even run bare, see {a.work}/{language}-bare.log")
        budget = int(bare["peak_rss_bytes"] * a.percent / 100)
        rows.append(row(language, "bare", bare, bare, budget))
        for arm, limit in (("ebbtide", HANG * bare["wall_s"]), ("swap", a.limit)):
            result = run_arm(language, arm, a.work, folder, budget, limit)
            rows.append(row(language, arm, result, bare, budget))
            if "skipped" in result:
                notes.append(f"{language}, {arm}: skipped, {result['skipped']}")
            if result.get("other_swap"):
                notes.append(f"{language}, {arm}: the machine also swaps to {', '.join(result['other_swap'])}")
            if arm == "ebbtide":
                within = result.get("peak_rss_bytes", 0) <= budget + UNMANAGED
                if not within:
                    notes.append(f"{language}, {arm}: held more than its budget + {UNMANAGED >> 20} MiB, so it was not "
                                 "really tiered")
                good = good and within and result.get("exit_code") == 0 and result["hash"] == bare["hash"]
    if rows:
        print_table([("job", "arm", "DRAM allowed", "wall", "to bare", "peak DRAM", "output"), *rows])
    if a.only in (None, "parameters"):
        rows, more, right = try_parameters(folder, a.work)
        notes += more
        good = good and right
        if rows:
            print_table(rows)
    print("", *notes, sep="\n")
    print(f"{time.monotonic() - start:.0f} s in all. Counts, results and logs: {a.work} (delete it when you like)")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
