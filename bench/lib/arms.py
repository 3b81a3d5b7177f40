"""Runs one command in one of three ways ("arms") and says what it took: bare, under Ebbtide, or under kernel swap in a
memory cgroup. Used by the demo and the benches.

    run_bare(command)                                   -> {"arm", "wall_s", "peak_rss_bytes", "exit_code", ...}
    run_ebb(command, dram=2 << 30, slow="file:/disk")
    run_swap(command, limit=2 << 30, swap_folder="/disk", swap_bytes=8 << 30)

    arms.py bare|ebb|swap [--dram BYTES] [--disk FOLDER] [--timeout S] -- COMMAND...      prints the same as JSON

All take env (added to ours), cwd, timeout (seconds; then everything is killed and "timed_out" is true), log (a file for
the program's output; absent: ours) and tick (called with the elapsed seconds twice a second).
`peak_rss_bytes` is the kernel's high-water mark of the largest process; `peak_dram_bytes` what counts for the arm's
limit: the cgroup's peak under swap, the same as the former otherwise. The wall time is that of the command alone.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

import machine

TICK_S = 0.5
EBB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin", "ebb")


def _exit_code(status):
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _run(arm, command, env=None, cwd=None, timeout=None, log=None, tick=None):
    output = open(log, "ab") if log else None  # closed below
    start = time.monotonic()
    # Its own session: Ctrl-C reaches us only, and one kill reaches all of it.
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
                               stdout=output, stderr=subprocess.STDOUT if output else None, start_new_session=True)
    pidfd = os.pidfd_open(process.pid)
    timed_out = False
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(TICK_S * 1000):
            elapsed = time.monotonic() - start
            if tick:
                tick(elapsed)
            if timeout and elapsed > timeout:
                timed_out = True
                break
    finally:
        wall = time.monotonic() - start
        if not select.select([pidfd], [], [], 0)[0]:
            os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = _exit_code(status)
        os.close(pidfd)
        if output:
            output.close()
    return {"arm": arm, "command": command, "wall_s": round(wall, 3), "user_s": usage.ru_utime, "sys_s": usage.ru_stime,
            "peak_rss_bytes": usage.ru_maxrss << 10, "peak_dram_bytes": usage.ru_maxrss << 10,
            "major_faults": usage.ru_majflt, "exit_code": process.returncode, "timed_out": timed_out}


def run_bare(command, **common):
    return _run("bare", command, **common)


def run_ebb(command, dram, slow, report=None, ebb=EBB, options=(), **common):
    """`dram` in bytes (a budget for managed memory); `report` keeps the job's JSON, which is also in "report"."""
    if not os.access(ebb, os.X_OK):
        raise machine.Unavailable(f"{os.path.normpath(ebb)} is not there: ./dev build")
    with contextlib.ExitStack() as stack:
        if report is None:
            report = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "report.json")
        wrapped = [ebb, "run", "--dram", f"{dram >> 10}K", "--slow", slow, "--report", report, *options, "--", *command]
        result = _run("ebb", wrapped, **common)
        with contextlib.suppress(FileNotFoundError), open(report, encoding="utf-8") as text:
            result["report"] = json.load(text)
    return result


def run_swap(command, limit, swap_folder, swap_bytes=8 << 30, **common):
    with machine.swap_file(swap_folder, swap_bytes) as swap, machine.memory_cgroup(limit) as group:
        result = _run("swap", group.wrap(command), **common)
        result["peak_dram_bytes"] = group.peak() or result["peak_rss_bytes"]
        result["other_swap"] = machine.other_swap(swap)
    return result


def main():
    parser = argparse.ArgumentParser(description="run a command bare, under Ebbtide or under kernel swap; JSON")
    parser.add_argument("arm", choices=["bare", "ebb", "swap"])
    parser.add_argument("--dram", type=int, default=2 << 30, help="bytes: budget or cgroup limit")
    parser.add_argument("--disk", default=".", help="folder on the disk to use")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--log", help="file for the command's output (default: standard error)")
    parser.add_argument("command", nargs="+")
    a = parser.parse_args()
    # An ordinary end as well: the context managers run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    common = {"timeout": a.timeout, "log": a.log or "/dev/stderr"}
    try:
        if a.arm == "bare":
            result = run_bare(a.command, **common)
        elif a.arm == "ebb":
            result = run_ebb(a.command, a.dram, f"file:{a.disk}", **common)
        else:
            result = run_swap(a.command, a.dram, a.disk, **common)
    except machine.Unavailable as reason:
        sys.exit(f"arms.py: {reason}")
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
