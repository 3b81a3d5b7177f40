"""Files of a snapshot in which a bit is flipped or of which the end is missing: damaged.py EBB COUNTER.

Nothing is restored from CRIU's files then; a page of the heap that is not what it was ends the job when it is read, and is
never given to it.
"""
import os
import random
import signal

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

# Much of it is cold; an answer reads all.
PROGRAM = """
import hashlib, sys
blocks = [bytes([i % 251]) * (1 << 20) for i in range(120)]
for line in sys.stdin: print(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest(), flush=True)
"""
chance = random.Random(7)


def frozen():
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    program = Job([EBB, "run", "-q", "-d", "64M", "-s", f"file:{slow}", "--name", "damaged", "--", PYTHON, "-c", PROGRAM])
    answer = program.ask("x")
    program.freeze("damaged", "--wait", "persisted", name="damaged")
    return answer


def files_in(folder):
    path = os.path.join(os.environ["EBB_SNAPSHOTS"], "damaged", folder)
    return [os.path.join(path, name) for name in sorted(os.listdir(path))]


def flip(path):
    """One bit of what is in the file; a function that puts it back."""
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            at = chance.randrange(size)
            file.seek(at)
            old = file.read(1)
            if old != b"\0" or chance.random() < 0.01:  # seldom in a hole
                break
        put(path, at, bytes([old[0] ^ 1 << chance.randrange(8)]))
    return lambda: put(path, at, old)


def put(path, at, byte):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(byte)


def images():
    answer = frozen()
    refusals = 0
    for path in [*files_in("images"), *files_in("../damaged")]:
        if not os.path.isfile(path) or os.path.getsize(path) == 0:
            continue
        with open(path, "rb") as file:
            good = file.read()
        flip(path)
        for what in ("a flipped bit", "a missing end"):
            done = ebb("restore", "damaged")
            check_equal((done.returncode, done.stderr.count("\n")), (125, 1), f"{path}, {what}: {done.stderr!r}")
            check_equal(ebb("snapshots", "verify", "damaged").returncode, 1, f"{path}, {what}: verify")
            refusals += 1
            with open(path, "wb") as file:
                file.write(good[:chance.randrange(len(good))])
        with open(path, "wb") as file:
            file.write(good)
    check(refusals >= 20, f"only {refusals} refusals")
    again = restored("damaged")
    check_equal(again.ask("x"), answer, "whole again")
    check_equal(again.end(), 0, "exit code")


def heap():
    answer, ends = frozen_again(), []
    for path in files_in("heap"):
        for _ in range(3):
            put_back = flip(path)
            again = Job([EBB, "restore", "damaged"])
            try:
                found = again.ask("x")
            except BrokenPipeError:
                found = ""
            check(found in ("", answer), f"{path}: a wrong answer from a damaged heap")
            if found == "":
                check_equal(again.process.wait(), 128 + signal.SIGBUS, f"{path}: its end")
            else:
                again.end()
            ends.append(found == "")
            put_back()
    check(any(ends), "no damaged page was read")
    check_equal(ebb("snapshots", "verify", "damaged").returncode, 0, "verify in the end")


def frozen_again():
    again = restored("damaged")
    answer = again.ask("x")
    again.end()
    return answer


job.require_criu()
job.run_all([images, heap], 100)
