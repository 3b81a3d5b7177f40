"""Runs model_fuzz under the library until the job has moved enough pages, over as many seeds as that takes.

    run_fuzz.py --library LIB --slow FOLDER --migrations N [--seed N] [--dram 64M] [--mib 256] [--each N] [--clean-ahead] FUZZ

The first seed is printed before anything starts: a failure is run again with --seed.
"""
import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
from job_page import JobPage, parse_size  # noqa: E402

SECONDS_EACH = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True)
    parser.add_argument("--slow", required=True)
    parser.add_argument("--migrations", type=int, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--dram", default="64M")
    parser.add_argument("--mib", default="256")
    parser.add_argument("--threads", default="3")
    parser.add_argument("--each", type=int, help="page migrations after which the next process begins, with the next seed")
    parser.add_argument("--clean-ahead", action="store_true")
    parser.add_argument("fuzz")
    args = parser.parse_args()
    os.makedirs(args.slow, exist_ok=True)
    total, seed, begin = 0, args.seed, time.monotonic()
    while total < args.migrations:
        folder = tempfile.mkdtemp(prefix="ebb-fuzz-", dir=args.slow)
        page = JobPage(parse_size(args.dram), args.clean_ahead)
        command = [args.fuzz, "--seed", str(seed), "--threads", args.threads, "--mib", args.mib, "--seconds",
                   str(SECONDS_EACH), "--until-migrations", str(min(args.each or args.migrations, args.migrations - total))]
        print(f"seed {seed}", flush=True)
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True,
                                 env=page.environment(os.path.abspath(args.library), f"file:{folder}"))
        try:
            out, _ = child.communicate(timeout=SECONDS_EACH * 4)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            print(f"FAILED: seed {seed} hangs: {page.summary()}")
            return 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        moved = re.search(r"^(\d+) page migrations", out or "", re.M)
        if child.returncode or not moved:
            print(f"FAILED: exit code {child.returncode} with {' '.join(command)}; {page.summary()}")
            return 1
        if int(moved[1]) == 0:
            print("FAILED: no page was moved, so nothing was tested")
            return 1
        total += int(moved[1])
        seed += int(args.threads)
        print(page.summary(), flush=True)
    print(f"{total} page migrations, 0 mismatches, {time.monotonic() - begin:.0f}s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
