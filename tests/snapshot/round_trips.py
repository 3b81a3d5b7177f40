"""Programs that are frozen, brought back, and go on as if nothing had been: round_trips.py EBB COUNTER [CYCLES].

With CYCLES: that many times in a row for each, instead of once or twice.
"""
import os
import re
import shutil
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

COUNTER = sys.argv[2]
CYCLES = int(sys.argv[3]) if len(sys.argv) > 3 else 2

THREADS = """
import hashlib, sys, threading, numpy
data = numpy.random.default_rng(7).random(2000000)
ticks, more = [0] * 8, threading.Semaphore(0)
def work(i):
    while True:
        with lock:
            lock.wait()
            ticks[i] += 1
        more.release()
lock = threading.Condition()
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
for thread in threads: thread.start()
product = numpy.ones((300, 300)) @ numpy.ones((300, 300))
for line in sys.stdin:
    with lock: lock.notify_all()
    more.acquire()
    print(hashlib.sha256(data).hexdigest(), sum(t.is_alive() for t in threads),
          float((numpy.ones((300, 300)) @ product).sum()), flush=True)
"""

R_SESSION = """
library(parallel)
x <- sqrt(seq_len(1e6))
commands <- fifo(commandArgs(TRUE)[1], open = "r", blocking = TRUE)
repeat {
  line <- readLines(commands, n = 1)
  if (length(line) == 0 || line == "quit") break
  cat(line, sum(x), sum(unlist(mclapply(1:2, function(i) i * 10, mc.cores = 2))), file.exists(tempdir()), "\\n")
}
"""

LOCKED = """
import fcntl, os, sys, tempfile
kept = open(sys.argv[1], "w")
fcntl.flock(kept, fcntl.LOCK_EX)
gone = tempfile.TemporaryFile()
gone.write(b"deleted" * 500000)
gone.flush()
for line in sys.stdin:
    other = open(sys.argv[1])
    try:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    other.close()
    gone.seek(0)
    print(len(gone.read()), "free" if free else "locked", flush=True)
"""


def cycles(program, tag, ask):
    """Freezes and restores again and again; each time the answer must be right."""
    for cycle in range(CYCLES):
        program.freeze(tag, "--replace")
        pid, program = program.pid if cycle == 0 else pid, restored(tag)
        ask(program, f"{tag}, cycle {cycle + 1}")
        # The program is the child of `ebb restore`.
        program.pid = pid
    return program


def counter():
    path = os.path.join(ROOT, "count")
    program = Job([COUNTER, path])
    count = [int(program.ask("go"))]

    def ask(again, what):
        count[0] += 1
        check_equal(again.ask("go"), str(count[0]), what)

    program = cycles(program, "counter", ask)
    check_equal(program.end(), 7, "exit code of the counter")
    with open(path, encoding="utf-8") as file:
        check_equal(file.read().split(), [str(i + 1) for i in range(count[0])], "file of the counter")


def pipeline():
    program = Job(["sh", "-c", "sed -u 's/a/b/' | sed -u 's/^/got:/' | tee /dev/null; exit 3"])
    check_equal(program.ask("xa"), "got:xb", "pipeline at first")
    program = cycles(program, "pipeline", lambda again, what: check_equal(again.ask("ya"), "got:yb", what))
    check_equal(program.end(), 3, "exit code of the pipeline")


def python_threads():
    program = Job([PYTHON, "-c", THREADS])
    first = program.ask("go")
    check(first.endswith(" 8 8100000000.0"), f"threads at first: {first!r}")
    program = cycles(program, "threads", lambda again, what: check_equal(again.ask("go"), first, what))
    check_equal(program.end(), 0, "exit code of Python")


def r_session():
    if not shutil.which("Rscript"):
        print("SKIP: no R")
        return
    path, script = os.path.join(ROOT, "commands"), os.path.join(ROOT, "session.R")
    os.mkfifo(path)
    with open(script, "w", encoding="utf-8") as file:
        file.write(R_SESSION)
    program = Job(["Rscript", "--vanilla", script, path])
    # For both ways: it is no broken pipe while R is frozen.
    commands = os.fdopen(os.open(path, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0)

    def ask(again, what):
        commands.write(b"go\n")
        check_equal(again.process.stdout.readline(), answer, what)

    commands.write(b"go\n")
    answer = program.process.stdout.readline()
    check(answer.startswith("go 666667166 30 TRUE"), f"R at first: {answer!r}")
    program = cycles(program, "r", ask)
    commands.write(b"quit\n")
    check_equal(program.end(), 0, "exit code of R")
    commands.close()


def locked_and_deleted():
    program = Job([PYTHON, "-c", LOCKED, os.path.join(ROOT, "lock")])
    first = program.ask("go")
    check_equal(first, "3500000 locked", "files at first")
    program = cycles(program, "files", lambda again, what: check_equal(again.ask("go"), first, what))
    check_equal(program.end(), 0, "exit code")


def left_running():
    program = Job([COUNTER, os.path.join(ROOT, "left")])
    program.ask("go")
    program.freeze("left", "--leave-running")
    check_equal(program.ask("go"), "2", "the job that was left running")
    check_equal(program.end(), 7, "its exit code")


def without_a_name():
    """The snapshot is called after the job, and the line that tells of it says how."""
    program = Job(["sleep", "1000"])
    names = []
    for _ in range(2):
        done = ebb("snapshot", str(program.pid), "--leave-running", "--wait", "persisted")
        names += re.findall(r"snapshot (sleep-\d{8}-\d{6}(?:-2)?) of sleep", done.stderr)
    check_equal((len(set(names)), done.returncode), (2, 0), f"names of snapshots: {done.stderr!r}")
    check_equal(ebb("snapshots", "rm", *names).returncode, 0, "rm of both")
    program.process.terminate()
    program.process.wait()


def detached():
    """The command returns at once, and the job runs on as nobody's child."""
    program = Job(["sleep", "1000"], stderr=subprocess.DEVNULL)
    program.freeze("detached")
    done = subprocess.run([EBB, "restore", "detached", "--detach"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False)
    check_equal((done.returncode, f"process {program.pid}" in done.stderr), (0, True), f"--detach: {done.stderr!r}")
    with open(f"/proc/{program.pid}/comm", encoding="utf-8") as file:
        check_equal(file.read(), "sleep\n", "the job behind it")
    os.kill(program.pid, signal.SIGTERM)


def signalled():
    program = Job(["sleep", "1000"])
    program.freeze("sleep")
    again = restored("sleep")
    while not os.path.exists(f"/proc/{again.pid}/task/{again.pid}/children") or not open(
            f"/proc/{again.pid}/task/{again.pid}/children", encoding="utf-8").read().startswith(f"{program.pid} "):
        if again.process.poll() is not None:
            break
    again.process.terminate()
    check_equal(again.process.wait(), 143, "exit code after SIGTERM to ebb restore")


job.require_criu()
CASES = [counter, pipeline, python_threads, r_session, locked_and_deleted]
job.run_all(CASES if CYCLES > 2 else CASES + [left_running, without_a_name, detached, signalled], 100 + 5 * CYCLES)
