"""Jobs of `ebb run`: one that fits in its budget is frozen and brought back, and keeps its budget; one that is paged is
refused and goes on: managed.py EBB COUNTER."""
import os
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

# Each line "MIB" allocates so much more; the answer is the hash of everything and whether a userfaultfd is open.
PROGRAM = """
import hashlib, os, sys
blocks = []
def paged():
    return any("userfaultfd" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 100)
for line in sys.stdin:
    for i in range(int(line)):
        blocks.append(bytes([len(blocks) % 251]) * (1 << 20))
    print(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest(),
          "paged" if paged() else "fits", flush=True)
"""


def started(name, stderr):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    return Job([EBB, "run", "-d", "160M", "-s", f"file:{slow}", "--name", name, "--", PYTHON, "-c", PROGRAM], stderr=stderr)


def bare(*steps):
    program = Job([PYTHON, "-c", PROGRAM])
    answers = [program.ask(str(step)).split()[0] for step in steps]
    program.end()
    return answers


def fits():
    expected = bare(96, 200)
    with open(os.path.join(ROOT, "fits.err"), "w+", encoding="utf-8") as stderr:
        program = started("fits", stderr)
        check_equal(program.ask("96"), f"{expected[0]} fits", "before")
        program.freeze("managed", name="fits")
        stderr.seek(0)
        check("frozen into the snapshot managed" in stderr.read(), "the report says why the job ended")
    again = restored("managed")
    check_equal(again.ask("0"), f"{expected[0]} fits", "after the restore")
    check_equal(again.ask("200"), f"{expected[1]} paged", "beyond the budget, after the restore")
    check_equal(again.end(), 0, "exit code after the restore")


def paged():
    expected = bare(256, 1)
    program = started("paged", None)
    check_equal(program.ask("256"), f"{expected[0]} paged", "before")
    done = ebb("snapshot", "paged", "refused")
    check_equal(done.returncode, 125, "exit code of the snapshot")
    check("userfaultfd" in done.stderr, f"the reason: {done.stderr!r}")
    check_equal(program.ask("1"), f"{expected[1]} paged", "after the refusal")
    check_equal(program.end(), 0, "exit code of the job")


job.require_criu()
job.run_all([fits, paged], 60)
