"""Runs a program bare twice and under the library once for each tier, and compares standard output and exit code byte by byte.

    run_pair.py --library LIB --slow FOLDER --source FILE PROGRAM [ARGUMENT...]

Directives, anywhere in a comment among the first lines of the source:  run: dram=32M timeout=60 cold args=a,b tiers=file
  dram     the budget (default 64M)             timeout  seconds for each run (default 60)
  cold     fail when nothing was evicted        args     arguments for the program
  tiers    which tiers: file,tmpfs (default both)
Exit code 77 of the first bare run is a skip: its reason (standard output) is printed.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from job_page import JobPage, parse_size

SKIP = 77
OURS = ("LD_PRELOAD", "EBB_DRAM", "EBB_SLOW", "EBB_JOB", "EBB_VERBOSE")


def directives(path):
    found = {}
    with open(path, encoding="utf-8") as source:
        for line in [next(source, "") for _ in range(8)]:
            match = re.match(r"\s*(?://|/\*|#)\s*run:\s*(.*?)\s*(?:\*/)?$", line)
            for word in match[1].split() if match else []:
                key, _, value = word.partition("=")
                if key not in ("dram", "timeout", "cold", "args", "tiers"):
                    raise SystemExit(f"{path}: unknown directive '{word}'")
                found[key] = value
    return found


def where_it_hangs(group):
    """What the threads of the process group wait for, for a test that ran out of time."""
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(pid)) != group:
                continue
            for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
                base = f"/proc/{pid}/task/{task}/"
                name, wchan, call = (open(base + f).read().strip() for f in ("comm", "wchan", "syscall"))
                lines.append(f"  {pid}/{task} {name}: {wchan}, {call}")
        except OSError:
            pass
    return "\n".join(lines)


def run(command, folder, timeout, env, fds=()):
    """(exit code or None, stdout, stderr, seconds). Kills the whole group of a program that takes too long."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env,
                                 start_new_session=True, pass_fds=fds)
        note = ""
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            code, note = None, f"still running after {timeout} s:\n{where_it_hangs(child.pid)}\n"
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        out.seek(0), err.seek(0)
        return code, out.read(), note + err.read().decode(errors="replace"), time.monotonic() - begin


def difference(expected, got):
    a, b = expected.decode(errors="replace").splitlines(), got.decode(errors="replace").splitlines()
    for i, (x, y) in enumerate(zip(a + ["(end)"], b + ["(end)"])):
        if x != y:
            return f"line {i + 1}: '{y[:200]}' instead of '{x[:200]}'"
    return f"{len(b)} lines instead of {len(a)}"


def tail(text, lines=25):
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def run_tier(command, args, directive, tier, place, expected):
    folder = tempfile.mkdtemp(prefix="ebb-test-", dir=place)
    work = tempfile.mkdtemp(prefix="work-", dir=args.slow)
    page = JobPage(parse_size(directive.get("dram") or args.dram))
    try:
        code, out, err, seconds = run(command, work, float(directive.get("timeout", args.timeout)),
                                      page.environment(args.library, f"file:{folder}"))
        left = os.listdir(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    wrong = []
    if code != expected[0]:
        wrong.append(f"exit code {code} instead of {expected[0]}")
    if out != expected[1]:
        wrong.append(f"output differs: {difference(expected[1], out)}")
    if "cold" in directive and page.evicted_bytes == 0:
        wrong.append("nothing was evicted, so nothing was tested")
    if left:
        wrong.append(f"left behind on the tier: {' '.join(left)}")
    for counter in ("read_errors", "write_errors", "bad_pages"):
        if getattr(page, counter):
            wrong.append(f"{counter} {getattr(page, counter)}")
    print(f"{tier}: {seconds:.1f}s, {page.summary()}{': FAILED' if wrong else ''}")
    for line in wrong:
        print(f"  {line}")
    if wrong or args.verbose:
        print(tail(err))
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True)
    parser.add_argument("--slow", required=True, help="folder on a disk for the file tier and working folders")
    parser.add_argument("--tmpfs", default="/dev/shm")
    parser.add_argument("--source", help="the program's source, for its directives")
    parser.add_argument("--dram", default="64M")
    parser.add_argument("--timeout", default="60")
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    directive = directives(args.source) if args.source else {}
    command = [os.path.abspath(args.command[0]), *args.command[1:], *filter(None, directive.get("args", "").split(","))]
    args.library = os.path.abspath(args.library)
    os.makedirs(args.slow, exist_ok=True)

    bare = {k: v for k, v in os.environ.items() if k not in OURS}
    expected = None
    for _ in range(2):
        work = tempfile.mkdtemp(prefix="work-", dir=args.slow)
        code, out, err, seconds = run(command, work, float(directive.get("timeout", args.timeout)), bare)
        shutil.rmtree(work, ignore_errors=True)
        if code == SKIP:
            print(f"SKIPPED: {out.decode(errors='replace').strip()}")
            return SKIP
        if code is None or code < 0 or code == 1:
            print(f"the program fails bare, with {code}:\n{tail(err)}")
            return 1
        if expected and expected != (code, out):
            print(f"two bare runs differ, so the test is wrong: {difference(expected[1], out)}")
            return 1
        expected = (code, out)
        print(f"bare: {seconds:.1f}s")
    tiers = {"file": args.slow, "tmpfs": args.tmpfs}
    wanted = directive.get("tiers", "file,tmpfs").split(",")
    results = [run_tier(command, args, directive, t, tiers[t], expected) for t in wanted if os.path.isdir(tiers[t])]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
