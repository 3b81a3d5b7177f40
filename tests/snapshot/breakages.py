"""Ways in which a pager in the process and CRIU break each other: breakages.py EBB COUNTER.

The table in docs/snapshots-criu.md says which test has which of them; here are those that no other has.
"""
import os
import stat

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

SLOW = os.path.join(ROOT, "slow")

# Threads that touch cold memory all the time, some in system calls, while snapshots are taken; the memory grows and moves.
BUSY = """
import hashlib, os, sys, threading
blocks = [bytearray([i % 251]) * (1 << 20) for i in range(120)]
sums = [hashlib.sha256(b).digest() for b in blocks]
rounds, wrong = [0] * 4, []
more, nothing = threading.Condition(), os.open("/dev/null", os.O_WRONLY)
def work(me):
    while True:
        for i in range(me, len(sums), 4):
            if me == 3: os.write(nothing, blocks[i])
            if hashlib.sha256(blocks[i]).digest() != sums[i]: wrong.append(i)
        with more:
            rounds[me] += 1
            more.notify_all()
for i in range(4): threading.Thread(target=work, args=(i,), daemon=True).start()
grown = bytearray(b"x") * (1 << 20)
for line in sys.stdin:
    grown += b"x" * (8 << 20)
    with more:
        before = list(rounds)
        more.wait_for(lambda: all(now > then for now, then in zip(rounds, before)))
    print(len(wrong), len(grown) >> 20, grown.count(b"x") == len(grown), flush=True)
"""

# Every other page is zeros: these are not in the store, and what is between becomes a mapping each. And as many mappings of
# its own, behind the library's back, as the kernel lets it have.
MANY = """
import ctypes, hashlib, sys
count, most = int(sys.argv[1]), int(sys.argv[2])
data = bytearray(b"x") * (96 << 20)
for i in range(count): data[(2 * i + 1) * 4096:(2 * i + 2) * 4096] = bytes(4096)
call = ctypes.CDLL(None).syscall
call.restype = ctypes.c_long
at = call(9, None, ctypes.c_size_t(most * 8192), 0, 0x4022, -1, 0) if most else 0  # mmap
for i in range(most // 2):
    if call(10, ctypes.c_void_p(at + i * 8192), ctypes.c_size_t(4096), 1) != 0: break  # mprotect
for line in sys.stdin: print(hashlib.sha256(data).hexdigest(), flush=True)
"""


def managed(name, budget, program, *words):
    os.makedirs(SLOW, exist_ok=True)
    return Job([EBB, "run", "-q", "-d", budget, "-s", f"file:{SLOW}", "--name", name, "--", PYTHON, "-c", program, *words])


def busy():
    """Threads in faults, in system calls that fault, and memory that moves: none keeps the snapshot from coming to rest."""
    program = managed("busy", "64M", BUSY)
    size = [1]

    def ask(again, what):
        size[0] += 8
        check_equal(again.ask("x"), f"0 {size[0]} True", what)

    ask(program, "at first")
    for i in range(2):
        program.freeze("busy", "--leave-running", "--replace", name="busy")
        ask(program, f"left running, {i}")
    name = "busy"
    for i in range(2):
        program.freeze("busy", "--replace", name=name)
        program = restored("busy")
        name = str(program.pid)
        ask(program, f"restored, {i}")
    check_equal(program.end(), 0, "exit code")


def many_mappings():
    program = managed("many", "64M", MANY, "2000", "0")
    answer = program.ask("x")
    program.freeze("many", name="many")
    again = restored("many")
    check_equal(again.ask("x"), answer, "many mappings, restored")
    check_equal(again.end(), 0, "exit code")


def too_many_mappings():
    """The program has as many as the kernel allows, but for a few: refused, and every byte stays what it is."""
    with open("/proc/sys/vm/max_map_count", encoding="utf-8") as file:
        most = int(file.read())
    if most > 100000:
        print(f"SKIP: more than 100000 mappings ({most}) would take long")
        return
    program = managed("most", "64M", MANY, "500", str(most))
    answer = program.ask("x")
    done = ebb("snapshot", "most", "most", "-q")
    check_equal((done.returncode, done.stderr.count("\n")), (125, 1), f"too many mappings: {done.stderr!r}")
    check("the job goes on" in done.stderr, f"too many mappings: {done.stderr!r}")
    check_equal(program.ask("x"), answer, "too many mappings: afterwards")
    check_equal(program.end(), 0, "exit code")


def options():
    """CRIU stores once and whole: no pre-dump, no tracking of writes, no pages on demand, which would be a second pager."""
    facts = ebb("doctor", "--json").stdout
    real = job.json.loads(facts)["facts"]["criu_path"]
    record, wrapper = os.path.join(ROOT, "words"), os.path.join(ROOT, "criu")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\necho "$@" >> {record}\nexec {real} "$@"\n')
    os.chmod(wrapper, os.stat(wrapper).st_mode | stat.S_IXUSR)
    os.environ["EBB_CRIU"] = wrapper
    try:
        program = managed("words", "64M", BUSY)
        program.ask("x")
        program.freeze("words", name="words")
        again = restored("words")
        again.ask("x")
        check_equal(again.end(), 0, "exit code")
    finally:
        del os.environ["EBB_CRIU"]
    with open(record, encoding="utf-8") as file:
        lines = file.read().splitlines()
    check_equal(sorted(line.split()[0] for line in lines), ["dump", "restore"], "what CRIU was told to do")
    for line in lines:
        for word in ("pre-dump", "lazy", "track-mem", "page-server", "prev-images-dir"):
            check(word not in line, f"CRIU's words: {line}")


job.require_criu()
job.run_all([busy, many_mappings, too_many_mappings, options], 110)
