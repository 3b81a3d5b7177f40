"""Jobs of `ebb run` are frozen, brought back and copied, and keep their budget: one that fits in it, one that is cleaned
ahead, one that is paged, and one of several processes: managed.py EBB COUNTER."""
import json
import os
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, cloned, restored

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


def started(name, stderr, *options):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    return Job([EBB, "run", "-d", "160M", "-s", f"file:{slow}", "--name", name, *options, "--", PYTHON, "-c", PROGRAM], stderr=stderr)


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


def ahead():
    """A job that fits, too, leaves its heap to the store and not to CRIU when it is cleaned ahead."""
    expected = bare(96, 1)
    program = started("ahead", None, "--clean-ahead")
    check_equal(program.ask("96"), f"{expected[0]} paged", "before")
    program.freeze("ahead", "--leave-running", "--print-stats", name="ahead")
    pages = json.loads(program.statistics)["criu"]["pages_written"]
    check(pages * 4096 < 64 << 20, f"CRIU stored {pages} pages of a program with 96 MiB in blocks")
    check_equal(program.ask("1"), f"{expected[1]} paged", "the job that was left running")
    check_equal(program.end(), 0, "exit code")
    again = restored("ahead")
    check_equal(again.ask("1"), f"{expected[1]} paged", "restored")
    check_equal(again.end(), 0, "exit code after the restore")


def paged():
    expected = bare(256, 0, 1, 2)
    program = started("paged", None)
    check_equal(program.ask("256"), f"{expected[0]} paged", "before")
    program.freeze("left", "--leave-running", name="paged")
    check_equal(program.ask("0"), f"{expected[1]} paged", "the job that was left running")
    check_equal(program.ask("1"), f"{expected[2]} paged", "more in the job that was left running")
    program.freeze("ended", name="paged")
    for tag, steps in (("left", "1"), ("ended", "0")):
        again = restored(tag)
        check_equal(again.ask(steps), f"{expected[2]} paged", f"{tag}, restored")
        check_equal(again.end(), 0, f"{tag}: exit code after the restore")
        copy = cloned(tag)
        check_equal(copy.ask(steps), f"{expected[2]} paged", f"{tag}, a copy")
        check_equal(copy.end(), 0, f"{tag}: exit code of the copy")


FAMILY = [PYTHON, "-c", job.FAMILY, "64", "3", "16", "24"]


def family():
    """Three generations of snapshots, each of the job as the last one was restored."""
    program = Job(FAMILY)
    expected = [program.ask("1") for _ in range(5)]
    program.end()
    program = Job([EBB, "run", "-q", "-d", "160M", "-s", f"file:{ROOT}/slow", "--name", "family", "--", *FAMILY])
    check_equal(program.ask("1"), expected[0], "before")
    name = "family"
    for generation in range(1, 4):
        program.freeze(f"family-{generation}", name=name)
        program = restored(f"family-{generation}")
        check_equal(program.ask("1"), expected[generation], f"generation {generation}")
        name = str(program.pid)
    check_equal(program.end(), 0, "exit code")
    copy = cloned("family-3")
    check_equal(copy.ask("1"), expected[3], "a copy of the last one")
    check_equal(copy.end(), 0, "exit code of the copy")


# Holds MIB that differ from line to line; at "fork" it starts a process that holds the same, and both answer from then on.
STARTER = """
import hashlib, os, sys
blocks = [bytearray([i % 251]) * (1 << 20) for i in range(int(sys.argv[1]))]
child = None
def digest(): return hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16]
for line in sys.stdin:
    if line == "fork\\n":
        (read, ask), (hear, answer) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ask)
            while os.read(read, 1): os.write(answer, digest().encode())
            os._exit(0)
        print("forked", flush=True)
    else:
        for block in blocks: block[int(line)] = 255
        if child: os.write(ask, b"?")
        print(digest(), os.read(hear, 16).decode() if child else "", flush=True)
"""


def starts_meanwhile():
    """A process that the job starts while its heap is written ahead becomes part of the snapshot."""
    mib, met, drafts = 300, 0, os.path.join(ROOT, "snapshots")
    os.makedirs(drafts, exist_ok=True)
    for round_ in range(8):
        parent = Job([EBB, "run", "-q", "-d", f"{mib // 2}M", "-s", f"file:{ROOT}", "--name", "starter", "--", PYTHON, "-c", STARTER,
                      str(mib)])
        before = parent.ask("7").strip()
        tool = subprocess.Popen([EBB, "snapshot", "starter", "starter", "-q", "--replace"], stderr=subprocess.PIPE, text=True)
        while tool.poll() is None and not any(name.startswith(".draft") for name in os.listdir(drafts)):
            pass
        try:
            forked = parent.ask("fork") == "forked"
        except BrokenPipeError:
            forked = False  # it was frozen already
        _, errors = tool.communicate()
        check_equal((tool.returncode, errors), (0, ""), f"round {round_}")
        if tool.returncode != 0:
            break
        parent.process.wait()
        back = restored("starter")
        if forked:
            met += 1
            own, childs = back.ask("9").split()
            check(own != before and childs == before, f"round {round_}: {before} before, then {own}, and {childs} of the child")
        back.end()
        if met == 2:
            break
    check(met > 0, "it never started one while its heap was written")


# Two processes. The first one gets MIB more with each line, the second one 200 at a signal; the answer: the hashes of both.
PAIR = """
import hashlib, os, signal, sys
blocks = []
def grow(mib):
    for i in range(mib): blocks.append(bytes([len(blocks) % 251]) * (1 << 20))
def digest(): return hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16]
(read, ask), (hear, answer) = os.pipe(), os.pipe()
second = os.fork()
if second == 0:
    os.close(ask)
    signal.signal(signal.SIGUSR1, lambda *_: grow(200))
    os.write(answer, b"r")
    while os.read(read, 1): os.write(answer, digest().encode())
    os._exit(0)
os.read(hear, 1)
print(second, flush=True)
for line in sys.stdin:
    grow(int(line))
    os.write(ask, b"?")
    print(digest(), os.read(hear, 16).decode(), flush=True)
"""


def is_paged(pid):
    return any("userfaultfd" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 100)


def paged_late():
    """A process that begins to be paged when the heaps of the others are sealed already becomes part of the snapshot."""
    def grow_second():
        check(not is_paged(second), "the second process is not paged before")
        os.kill(second, signal.SIGUSR1)
        while not is_paged(second):
            pass

    program = Job([PYTHON, "-c", PAIR])
    second = int(program.process.stdout.readline())
    program.ask("256")
    os.kill(second, signal.SIGUSR1)
    expected = program.ask("0")
    program.end()
    program = Job([EBB, "run", "-q", "-d", "160M", "-s", f"file:{ROOT}", "--name", "pair", "--", PYTHON, "-c", PAIR])
    second = int(program.process.stdout.readline())
    program.ask("256")
    done = job.snapshot_stopped_at("let go", "pair", "pair", grow_second)
    check_equal((done.returncode, done.stderr), (0, ""), "snapshot")
    program.process.wait()
    program = restored("pair")
    check_equal(program.ask("0"), expected, "restored")
    check_equal(program.end(), 0, "exit code after the restore")


# A thread each that starts programs and processes without a pause. The answer: the hash of the blocks, which change.
STORM = """
import hashlib, os, subprocess, sys, threading
blocks = [bytearray([i % 251]) * (1 << 20) for i in range(60)]
def programs():
    while True: subprocess.run(["/bin/true"])
def processes():
    while True:
        pid = os.fork()
        if pid == 0:
            blocks[3][9] = 1
            os._exit(0)
        os.waitpid(pid, 0)
if len(sys.argv) > 1:
    for work in (programs, processes): threading.Thread(target=work, daemon=True).start()
for line in sys.stdin:
    for block in blocks[::2]: block[7] = (block[7] + 1) % 256
    print(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16], flush=True)
os._exit(0)
"""


def starts_all_the_time():
    """No snapshot is refused because it met a process that had begun and was not yet paged."""
    times = 8
    program = Job([PYTHON, "-c", STORM])
    expected = [program.ask("1") for _ in range(times + 2)]
    program.end()
    program = Job([EBB, "run", "-q", "-d", "48M", "-s", f"file:{ROOT}", "--name", "storm", "--", PYTHON, "-c", STORM, "starts"])
    for i in range(times):
        check_equal(program.ask("1"), expected[i], f"before snapshot {i}")
        program.freeze("storm", "--leave-running", "--replace", name="storm")
    check_equal(program.ask("1"), expected[times], "left running")
    program.freeze("storm", "--replace", name="storm")
    program = restored("storm")
    check_equal(program.ask("1"), expected[times + 1], "restored")
    check_equal(program.end(), 0, "exit code after the restore")


# As pipelines do: programs that begin to be paged and end, over and over; the last argument is where to stop.
PIPELINE = """
while [ ! -e "$2" ]; do
  "$0" -c "$1" & "$0" -c "$1" | cat; wait
done
"""
STAGE = """
import hashlib
blocks = [bytes([i % 251]) * (1 << 20) for i in range(120)]
print(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16], flush=True)
"""


def ends_all_the_time():
    """No snapshot is refused because it met a process that was ending, or had begun to be paged."""
    stop, out = os.path.join(ROOT, "stop"), os.path.join(ROOT, "out")
    expected = subprocess.run([PYTHON, "-c", STAGE], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    with open(out, "a", encoding="utf-8") as file:
        program = Job([EBB, "run", "-q", "-d", "96M", "-s", f"file:{ROOT}", "--name", "pipeline", "--", "sh", "-c", PIPELINE,
                       PYTHON, STAGE, stop], stdout=file)
    while os.path.getsize(out) == 0:
        pass
    for _ in range(6):
        program.freeze("pipeline", "--leave-running", "--replace", name="pipeline")
    program.freeze("pipeline", "--replace", name="pipeline")
    with open(stop, "x", encoding="utf-8"), open(out, "a", encoding="utf-8") as file:
        check_equal(subprocess.run([EBB, "restore", "pipeline"], stdin=subprocess.DEVNULL, stdout=file, check=False).returncode, 0,
                    "exit code after the restore")
    with open(out, encoding="utf-8") as file:
        check_equal(set(file.read().split()), {expected}, "what the programs say")


job.require_criu()
job.run_all([fits, ahead, paged, family, starts_meanwhile, paged_late, starts_all_the_time, ends_all_the_time], 110)
