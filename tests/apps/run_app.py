"""Runs a real program bare twice and under the library, each time in a fresh folder, and compares output byte by byte.

    run_app.py --library LIB --slow FOLDER [--dram 96M] [--no-evict] SCRIPT

SCRIPT is a shell script of this folder. Its first lines may say `# needs: PROGRAM...`; without one of these the test is
skipped with exit code 77. `setup` in it, when defined, runs once and bare; `work` is what is compared: its standard
output, and every file that it leaves in the folder `out`. $data is what setup made, shared by all runs.
"""
import argparse
import difflib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
from job_page import JobPage, parse_size  # noqa: E402

SKIP = 77
OURS = ("LD_PRELOAD", "EBB_DRAM", "EBB_SLOW", "EBB_JOB", "EBB_VERBOSE")


def directive(script, key):
    with open(script, encoding="utf-8") as text:
        match = re.search(rf"^# {key}: (.*)$", text.read(), re.M)
    return match[1].split() if match else []


def shell(script, function, data, folder, env, timeout):
    os.makedirs(os.path.join(folder, "out"), exist_ok=True)
    env = dict(env, data=data, LC_ALL="C.UTF-8", HOME=folder, TMPDIR=folder)
    # The preload is for the program under test; bash itself is one of its processes.
    child = subprocess.Popen(["bash", "-euc", f'. "{script}"; {function}'], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    begin = time.monotonic()
    try:
        out, err = child.communicate(timeout=timeout)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        code = f"none after {timeout:.0f} s"
    return code, out, err.decode(errors="replace"), time.monotonic() - begin


def left_in(folder):
    found = {}
    for base, _, names in os.walk(os.path.join(folder, "out")):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(f, "sha256").hexdigest()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True)
    parser.add_argument("--slow", required=True)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("script")
    args = parser.parse_args()
    script = os.path.abspath(args.script)
    for program in directive(script, "needs"):
        if not shutil.which(program):
            print(f"SKIPPED: no {program} here")
            return SKIP
    os.makedirs(args.slow, exist_ok=True)
    root = tempfile.mkdtemp(prefix="app-", dir=args.slow)
    bare = {k: v for k, v in os.environ.items() if k not in OURS}
    try:
        return compare(args, script, root, bare)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def differing(expected, found):
    """The lines that are not the same, at most 60."""
    lines = difflib.unified_diff(*(text.decode(errors="replace").splitlines() for text in (expected, found)),
                                 "bare", "this run", n=0, lineterm="")
    return "\n".join(line[:300] for _, line in zip(range(60), lines))


def compare(args, script, root, bare):
    data = os.path.join(root, "data")
    os.mkdir(data)
    code, out, err, _ = shell(script, "if declare -F setup >/dev/null; then setup; fi", data, data, bare, args.timeout)
    if code == SKIP:
        print(f"SKIPPED: {out.decode(errors='replace').strip()}")
        return SKIP
    if code != 0:
        print(f"setup failed with {code}:\n{err[-3000:]}")
        return 1
    expected = None
    # The same folder name each time: programs print it.
    folder = os.path.join(root, "run")
    budget = parse_size((directive(script, "dram") or ["96M"])[0])
    page = JobPage(budget)
    tier = os.path.join(root, "tier")
    os.mkdir(tier)
    for name, env in (("bare", bare), ("bare again", bare),
                      ("preloaded", page.environment(os.path.abspath(args.library), f"file:{tier}"))):
        os.mkdir(folder)
        code, out, err, seconds = shell(script, "work", data, folder, env, args.timeout)
        got = (code, out, left_in(folder))
        shutil.rmtree(folder)
        print(f"{name}: {seconds:.1f}s{', ' + page.summary() if name == 'preloaded' else ''}", flush=True)
        if expected is None:
            if code != 0:
                print(f"FAILED bare with {code}:\n{err[-3000:]}")
                return 1
            expected = got
        elif got != expected:
            print(f"FAILED: {name} differs from bare: exit code {got[0]}, output "
                  f"{'equal' if got[1] == expected[1] else 'different'}, files "
                  f"{'equal' if got[2] == expected[2] else 'different: ' + ', '.join(k for k in expected[2] | got[2] if expected[2].get(k) != got[2].get(k))}")
            print(differing(expected[1], got[1]))
            print(err[-3000:])
            return 1
    if directive(script, "evicts") and page.evicted_bytes == 0:
        print("FAILED: nothing was evicted, so nothing was tested")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
