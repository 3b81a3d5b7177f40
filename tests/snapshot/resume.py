"""`ebb run --resume` and `--snapshot-on`: resume.py EBB COUNTER PROGRAM."""
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys

import job
from job import EBB, ROOT, Job, check, check_equal, ebb

COUNTER, PROGRAM = sys.argv[2:4]


def run(*words):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    return Job([EBB, "run", "-d", "64M", "-s", f"file:{slow}", *words], stderr=subprocess.PIPE)


def said(program):
    return program.process.stderr.readline().rstrip("\n")


def children(program):
    with open(f"/proc/{program.pid}/task/{program.pid}/children", encoding="utf-8") as file:
        return file.read().split()


def taken(program):
    """The line about a snapshot, once the command behind it is gone: until then another signal is ignored."""
    line = said(program)
    for child in children(program)[1:]:
        try:
            end = os.pidfd_open(int(child))
        except ProcessLookupError:
            continue
        select.select([end], [], [])
        os.close(end)
    return line


def ended(program, tag):
    """The front ends with the program's code, and has said nothing but its summary."""
    code = program.end()
    rest = program.process.stderr.read()
    check("error" not in rest and "warning" not in rest, f"{tag}: {rest}")
    return code


def resumed():
    path = os.path.join(ROOT, "count")
    program = run("--resume", "again", "--name", "counter", "--", COUNTER, path)
    check_equal(program.ask("go"), "1", "started")
    program.freeze("again", name="counter")
    program.end()
    program = run("--resume", "again", "--", "false")
    check_equal(said(program), "ebb: restoring the snapshot again instead of starting false", "what is said")
    check_equal(program.ask("go"), "2", "restored")
    program.freeze("again", "--replace", name=str(program.pid))
    program.end()
    program = run("--resume=again", "-q", "--", "false")
    check_equal(program.ask("go"), "3", "restored once more")
    check_equal(ended(program, "restored once more"), 7, "exit code")
    shutil.rmtree(os.path.join(os.environ["EBB_SNAPSHOTS"], "again", "images"))
    done = ebb("run", "--resume", "again", "--", "echo", "started")
    check_equal((done.returncode, done.stdout), (125, ""), "a damaged snapshot is no reason to start anew")
    check("again" in done.stderr, f"a damaged snapshot: {done.stderr}")


def mistakes():
    for words, expected in ((["--resume", "../x"], "../x"), (["--snapshot-on", "SIGKILL"], "SIGUSR1"),
                            (["--snapshot-on", "INT"], "SIGUSR1"), (["--snapshot-on", "USR1=a b"], "'a b'"),
                            (["--snapshot-on", "USR1="], "''"), (["--snapshot-on", "USR1", "--name", "a b"], "USR1=TAG")):
        done = ebb("run", *words, "--", "echo", "started")
        check_equal((done.returncode, done.stdout, done.stderr.count("\n")), (125, "", 1), f"{words}: {done.stderr}")
        check(expected in done.stderr and words[0] in done.stderr, f"{words}: {done.stderr}")


def signalled():
    program = run("--snapshot-on", "SIGUSR1", "--name", "signalled", "--", COUNTER, os.path.join(ROOT, "signalled"))
    check_equal(program.ask("go"), "1", "before")
    for count in ("2", "3"):
        program.process.send_signal(signal.SIGUSR1)
        line = taken(program)
        check(line.startswith("ebb: snapshot signalled of ebb_snapshot_co") and line.endswith("and goes on"), line)
        check_equal(program.ask("go"), count, "the signal is not the program's")
    check_equal(ended(program, "signalled"), 7, "exit code")
    again = Job([EBB, "restore", "signalled", "--force"])
    check_equal(again.ask("go"), "3", "restored")
    check_equal(again.end(), 7, "exit code of what was restored")


class Held:
    """Somebody reads a snapshot: it is replaced when they are done."""

    def __init__(self, tag):
        self.file = open(os.path.join(os.environ["EBB_SNAPSHOTS"], tag, "in-use"), "rb")
        fcntl.flock(self.file, fcntl.LOCK_SH)

    def release(self):
        self.file.close()


def begin(program):
    """Asks for a snapshot that cannot come to its end yet, and waits until it has come that far."""
    program.process.send_signal(signal.SIGUSR2)
    while True:
        with open("/proc/locks", encoding="utf-8") as file:
            waiting = [line.split()[5] for line in file if line.split()[1:3] == ["->", "FLOCK"]]
        if set(waiting) & set(children(program)):
            return


def one_at_a_time():
    program = run("--snapshot-on", "USR2=busy", "--", COUNTER, os.path.join(ROOT, "busy"))
    check_equal(program.ask("go"), "1", "before")
    program.process.send_signal(signal.SIGUSR2)
    check("taken" in taken(program), "the first")
    held = Held("busy")
    begin(program)
    program.process.send_signal(signal.SIGUSR2)
    check_equal(said(program), "ebb: a snapshot is being taken already; this signal is ignored", "a second signal")
    check_equal(program.ask("go"), "2", "meanwhile")
    held.release()
    check("taken" in taken(program), "the second")
    held = Held("busy")
    begin(program)
    counter = children(program)[0]
    program.process.stdin.close()
    while counter in children(program):
        pass
    held.release()
    check_equal(program.process.wait(), 7, "exit code when the program ends first")
    line = said(program)
    check("no process" in line, f"a snapshot of what has ended: {line}")


def over_and_over():
    """A paged job that goes on from its last snapshot each time."""
    words = ("--resume", "over", "--snapshot-on", "USR1=over", "--", PROGRAM)
    program = run(*words)
    program.ask("fill 96")
    total = program.ask("sum")
    for generation in range(3):
        program.process.send_signal(signal.SIGUSR1)
        line = taken(program)
        check("taken" in line, f"generation {generation}: {line}")
        check_equal(program.ask("sum"), total, f"generation {generation}: memory")
        check_equal(program.end(), 7, f"generation {generation}: exit code")
        program.process.stderr.read()
        program = run(*words)
        check("restoring" in said(program), f"generation {generation}: restored")
        check_equal(program.ask("sum"), total, f"generation {generation}: memory of what was restored")
    check_equal(ended(program, "the last"), 7, "exit code of the last")


job.require_criu()
job.run_all([resumed, mistakes, signalled, one_at_a_time, over_and_over], 60)
