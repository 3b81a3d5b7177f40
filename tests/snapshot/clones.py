"""Copies of a job, each in a world of its own, and snapshots of copies: clones.py EBB."""
import json
import os
import re
import select
import signal
import subprocess

import job
from job import PYTHON, ROOT, Job, check, check_equal, cloned, ebb, restored

PROGRAM = """
import json, os, sys, tempfile
folder = tempfile.mkdtemp()
data = list(range(100000))
def told():
    path = os.path.join(tempfile.gettempdir(), ".ebb-clone.json")
    return json.load(open(path)) if os.path.exists(path) else {}
for line in sys.stdin:
    name = os.path.join(folder, "file")
    before = open(name).read() if os.path.exists(name) else ""
    with open(name, "a") as file: file.write(line.strip() + ";")
    print(json.dumps({"pid": os.getpid(), "proc": os.readlink("/proc/self"), "sum": sum(data), "before": before,
                      "told": told()}), flush=True)
said = told()
print("end", said.get("clone"), os.getpid(), said.get("arguments"), flush=True)
sys.exit(10 + said.get("clone", 0))
"""


def start(tag):
    folder = os.path.join(ROOT, "tmp-" + tag)
    os.mkdir(folder)
    program = Job([PYTHON, "-c", PROGRAM], env=dict(os.environ, TMPDIR=folder))
    first = json.loads(program.ask("original"))
    return program, first


def in_foreground():
    program, first = start("one")
    program.freeze("one", "--leave-running")
    copy = cloned("one", "--arg", "k=5", "--arg", "name=a=b")
    answer = json.loads(copy.ask("copy"))
    check_equal((answer["pid"], answer["proc"], answer["sum"]), (first["pid"], str(first["pid"]), first["sum"]), "the copy")
    check_equal(answer["told"], {"clone": 1, "of": 1, "arguments": {"k": "5", "name": "a=b"}}, "what the copy is told")
    check_equal(json.loads(program.ask("again"))["before"], "original;", "temporary files of the original")
    check_equal(json.loads(copy.ask("x"))["before"], "original;copy;", "temporary files of the copy")
    check_equal(copy.end(), 11, "exit code of the copy")
    check_equal(program.end(), 10, "exit code of the original")


def five():
    program, first = start("five")
    program.freeze("five")
    logs = os.path.join(ROOT, "logs")
    done = ebb("clone", "five", "-n", "5", "--logs", logs, "--arg", "k=1")
    check(done.returncode in range(11, 16), f"exit code of five: {done.returncode} {done.stderr}")
    hosts = re.findall(r"clone \d runs as process (\d+)", done.stderr)
    check_equal(len(set(hosts)), 5, f"PIDs of five outside: {done.stderr}")
    check_equal(sorted(re.findall(r"clone (\d) ended with (\d+)", done.stderr)), [(str(i), str(10 + i)) for i in range(1, 6)],
                "their exit codes")
    for i in range(1, 6):
        with open(f"{logs}/clone-{i}.log", encoding="utf-8") as file:
            check_equal(file.read(), f"end {i} {first['pid']} {{'k': '1'}}\n", f"log of clone {i}")


def host_pid(front, inside):
    """The process that is `inside` in a namespace below `front`."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = file.read()
        except OSError:
            continue
        pids = re.search(r"^NSpid:\s*(.*)$", status, re.MULTILINE)[1].split()
        if len(pids) > 1 and pids[-1] == str(inside):
            return int(pid)
    raise RuntimeError(f"no process {inside} below {front}")


def snapshot_of_copy():
    program, first = start("first")
    program.freeze("first")
    copy = cloned("first")
    json.loads(copy.ask("copy"))
    copy.pid = host_pid(copy.process.pid, first["pid"])
    check(copy.pid != first["pid"], "the copy's PID outside")
    done = ebb("snapshot", str(copy.pid), "second", "-q")
    check_equal(done.returncode, 0, f"snapshot of a copy: {done.stderr}")
    check_equal(copy.process.wait(), 137, "exit code of the copy that was frozen")
    for again in (cloned("second"), restored("second")):
        answer = json.loads(again.ask("x"))
        check_equal((answer["pid"], answer["sum"], answer["before"]), (first["pid"], first["sum"], "original;copy;"),
                    "copy of a copy")
        check_equal(again.end(), 11, "exit code of a copy of a copy")


def named_by_its_front():
    """The PID of an `ebb clone` stands for its copy, unless it has several."""
    program, first = start("front")
    program.freeze("front")
    copy = cloned("front")
    json.loads(copy.ask("copy"))
    copy.freeze("behind")
    again = cloned("behind")
    check_equal(json.loads(again.ask("x"))["before"], "original;copy;", "the copy behind the command")
    check_equal(again.end(), 11, "exit code")
    logs = os.path.join(ROOT, "waiting")
    os.mkfifo(os.path.join(ROOT, "never"))
    waiting = Job(["sh", "-c", f"read line < {ROOT}/never"])
    waiting.freeze("waiting")
    several = Job([job.EBB, "clone", "waiting", "-n", "2", "--logs", logs], stderr=subprocess.PIPE)
    for _ in range(2):
        several.process.stderr.readline()  # they run
    done = ebb("snapshot", str(several.pid), "x")
    check_equal(done.returncode, 125, "a snapshot of several copies: exit code")
    check("several copies" in done.stderr, f"a snapshot of several copies: {done.stderr!r}")
    several.process.terminate()
    several.process.wait()


def open_folder(pid, part):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = os.readlink(f"/proc/{pid}/fd/{fd}")
        if part in path:
            return path
    raise RuntimeError(f"process {pid} has no {part} open")


def left_behind():
    """What a killed `ebb clone` leaves stays as long as its clone needs it, and goes with the next one."""
    start("left")[0].freeze("left")
    copy = cloned("left")
    copy.ask("x")
    front = copy.process.pid
    scratch = open_folder(front, "/ebb-clone.")
    with open(f"/proc/{front}/task/{front}/children", encoding="utf-8") as file:
        first = os.pidfd_open(int(file.read().split()[0]))
    os.kill(front, signal.SIGKILL)
    copy.process.wait()

    def another():
        os.utime(scratch, (0, 0))  # not one that is being made
        other = cloned("left")
        other.ask("x")
        other.end()

    another()
    check(os.path.isdir(scratch), "the folder of a clone that runs")
    signal.pidfd_send_signal(first, signal.SIGKILL)
    select.select([first], [], [])
    another()
    check(not os.path.exists(scratch), f"{scratch} is left behind")


job.require_criu()
job.run_all([in_foreground, five, snapshot_of_copy, named_by_its_front, left_behind], 100)
