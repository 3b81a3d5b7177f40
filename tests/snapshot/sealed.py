"""Paged processes are sealed, stored, and take their heaps back, by a program that plays them for the command:
sealed.py EBB COUNTER AGENT."""
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, cloned, ebb, restored

AGENT = sys.argv[3]
KEYS = ("seals", "resumes", "aborts", "moved", "conts")


class Agent:
    """Answers of the program, each process's as (sum, state, counts)."""

    def __init__(self, program):
        self.program = program

    def look(self):
        answer = self.program.ask("go")
        out = []
        for part in answer.split(" | "):
            words = part.split()
            if len(words) != 7:
                raise RuntimeError(f"answer {answer!r}")
            out.append((words[0], words[1], dict((word.split("=")[0], int(word.split("=")[1])) for word in words[2:])))
        return out


def started(processes=1):
    program = Job([AGENT, str(processes)])
    return program, Agent(program).look()


def expected_sums(processes, steps):
    """What a run that nobody disturbs answers at each step."""
    program = Job([AGENT, str(processes)])
    out = [[one[0] for one in Agent(program).look()] for _ in range(steps)]
    program.end()
    return out


def compare(found, sums, what, **counts):
    check_equal([one[0] for one in found], sums, f"{what}: heaps")
    wanted = dict.fromkeys(KEYS, 0) | counts
    for one in found:
        check_equal((one[1], one[2]), ("paged", wanted), what)


def there_and_back():
    sums = expected_sums(2, 4)
    program, first = started(2)
    compare(first, sums[0], "before")
    program.freeze("back")
    again = restored("back")
    compare(Agent(again).look(), sums[1], "after the restore", seals=1, resumes=1)
    again.pid = program.pid
    again.freeze("back", "--replace")
    again = restored("back")
    compare(Agent(again).look(), sums[2], "after the second restore", seals=2, resumes=2)
    check_equal(again.end(), 7, "exit code")


def left_running():
    sums = expected_sums(2, 4)
    program, _ = started(2)
    done = ebb("snapshot", str(program.pid), "left", "-q", "--leave-running", "--print-stats", "--wait", "persisted")
    check_equal((done.returncode, done.stderr), (0, ""), "snapshot")
    report = json.loads(done.stdout)
    check_equal(sorted(report["phases"]), ["clean_us", "criu_us", "free_us", "hold_us", "publish_us", "resume_us", "seal_us"], "phases")
    check(all(us > 0 for us in report["phases"].values()), f"phases: {report['phases']}")
    check(report["paused_us"] >= report["phases"]["seal_us"] + report["phases"]["resume_us"], f"pause: {report}")
    compare(Agent(program).look(), sums[1], "the job goes on", seals=1, resumes=1)
    check_equal(program.end(), 7, "exit code of the original")
    again = restored("left")
    compare(Agent(again).look(), sums[1], "restored", seals=1, resumes=1)
    check_equal(again.end(), 7, "exit code")
    check_equal(ebb("snapshots", "verify", "left").returncode, 0, "verify")
    heap = os.path.join(os.environ["EBB_SNAPSHOTS"], "left", "heap")
    check_equal(sorted(os.listdir(heap)), ["1000", "1001"], "files of the heap")
    with open(os.path.join(heap, "1000"), "r+b") as file:
        file.write(b"x")
    check("heap/1000" in ebb("snapshots", "verify", "left").stdout, "verify finds a changed heap")


def elsewhere():
    sums = expected_sums(1, 2)
    program, _ = started()
    program.freeze("here", "--wait", "persisted")
    archive = os.path.join(ROOT, "here.tar")
    check_equal(ebb("snapshots", "export", "here", archive).returncode, 0, "export")
    check_equal(ebb("snapshots", "rm", "here").returncode, 0, "rm")
    os.environ["EBB_SNAPSHOTS"] = os.path.join(ROOT, "elsewhere")
    try:
        check_equal(ebb("snapshots", "import", archive, "--as", "there").returncode, 0, "import")
        again = restored("there")
        compare(Agent(again).look(), sums[1], "restored elsewhere", seals=1, resumes=1)
        check_equal(again.end(), 7, "exit code")
        shutil.rmtree(os.path.join(os.environ["EBB_SNAPSHOTS"], "there", "heap"))
        done = ebb("restore", "there")
        check_equal(done.returncode, 125, "restore without the heap")
    finally:
        os.environ["EBB_SNAPSHOTS"] = os.path.join(ROOT, "snapshots")


def copies():
    sums = expected_sums(2, 3)
    folder = os.path.join(ROOT, "tmp")
    os.mkdir(folder)
    os.environ["TMPDIR"] = folder
    program, _ = started(2)
    program.freeze("copies", "--leave-running")
    compare(Agent(program).look(), sums[1], "the original", seals=1, resumes=1)
    copy = cloned("copies")
    compare(Agent(copy).look(), sums[1], "a copy", seals=1, resumes=1)
    inside = host_pid(program.pid)
    done = ebb("snapshot", str(inside), "copy", "-q", "--leave-running")
    check_equal((done.returncode, done.stderr), (0, ""), "snapshot of the copy")
    compare(Agent(copy).look(), sums[2], "the copy that was frozen", seals=2, resumes=2)
    for again in (cloned("copy"), restored("copy")):
        compare(Agent(again).look(), sums[2], "copies of the copy", seals=2, resumes=2)
        check_equal(again.end(), 7, "exit code of a copy of the copy")
    check_equal((copy.end(), program.end()), (7, 7), "exit codes")
    done = ebb("clone", "copies", "-n", "3", "--logs", os.path.join(ROOT, "logs"))
    check_equal(done.returncode, 7, f"exit code of three: {done.stderr}")
    check_equal(len(re.findall(r"clone \d ended with 7", done.stderr)), 3, f"three copies: {done.stderr}")
    del os.environ["TMPDIR"]


def host_pid(inside):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                numbers = re.search(r"^NSpid:\s*(.*)$", file.read(), re.MULTILINE)[1].split()
        except OSError:
            continue
        if len(numbers) > 1 and numbers[-1] == str(inside):
            return int(pid)
    raise RuntimeError(f"no process {inside} in a namespace")


def refused(program, tag, *words):
    done = ebb("snapshot", str(program.pid), tag)
    check_equal((done.returncode, done.stderr.count("\n")), (125, 1), f"{tag}: {done.stderr!r}")
    for word in ("the job goes on", *words):
        check(word in done.stderr, f"{tag}: no {word!r} in {done.stderr!r}")
    check(not os.path.exists(os.environ["EBB_SNAPSHOTS"] + "/" + tag), f"{tag}: something was left behind")


def one_cannot():
    sums = expected_sums(2, 3)
    program, _ = started(2)
    program.ask(f"fail seal {errno.ENOSPC}")
    refused(program, "cannot", "No space left on device", "seal its heap")
    found = Agent(program).look()
    check_equal([one[0] for one in found], sums[2], "heaps after one could not seal")
    check_equal([(one[1], one[2]["seals"], one[2]["resumes"], one[2]["aborts"], one[2]["moved"]) for one in found],
                [("paged", 1, 1, 0, 0), ("paged", 0, 0, 1, 0)], "one was sealed, one was not")
    check_equal(program.end(), 7, "exit code")


def criu_cannot():
    """An obstacle that is found when the heaps are sealed already: CRIU's own refusal."""
    import socket
    ours, theirs = socket.socketpair()
    program = Job([AGENT, "2"], pass_fds=[theirs.fileno()])
    sums = [one[0] for one in Agent(program).look()]
    refused(program, "socket", "unix socket")
    found = Agent(program).look()
    check(sums != [one[0] for one in found], "the heap changes")
    compare(found, [one[0] for one in found], "CRIU cannot", seals=1, resumes=1)
    check_equal(program.end(), 7, "exit code")
    ours.close()
    theirs.close()


def stopped():
    program, _ = started()
    os.kill(program.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED)
    refused(program, "stopped", "is stopped", f"kill -CONT {program.pid}")
    os.kill(program.pid, signal.SIGCONT)
    found = Agent(program).look()
    check_equal((found[0][1], found[0][2]["seals"]), ("paged", 0), "after it was stopped")
    check_equal(program.end(), 7, "exit code")


def interrupted():
    """The command is killed while threads stand still: they go on, and so does the next command."""
    sums = expected_sums(1, 3)
    program, _ = started()
    program.ask("hang seal")
    command = subprocess.Popen([EBB, "snapshot", str(program.pid), "interrupted", "-q"])
    while state(program.pid) != "t":
        check_equal(command.poll(), None, "the snapshot that hangs")
    command.kill()
    command.wait()
    program.freeze("interrupted", "--leave-running")
    compare(Agent(program).look(), sums[2], "after an interruption", seals=1, resumes=1, aborts=1)
    check_equal(program.end(), 7, "exit code")


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def while_it_is_restored():
    """What is there of a job then is not taken for the job."""
    sums = expected_sums(1, 2)
    program, _ = started()
    program.freeze("restoring")
    front = Job([EBB, "restore", "restoring"], env={**os.environ, "EBB_TEST_STOP_POINT": "restored ones stand still"})
    os.waitid(os.P_PID, front.pid, os.WSTOPPED)
    done = ebb("snapshot", str(front.pid), "early")
    check_equal(done.returncode, 125, "a snapshot while the job is restored: exit code")
    check("restoring its job" in done.stderr, f"a snapshot while the job is restored: {done.stderr!r}")
    os.kill(front.pid, signal.SIGCONT)
    compare(Agent(front).look(), sums[1], "restored after that", seals=1, resumes=1)
    check_equal(front.end(), 7, "exit code")


def beside_others():
    """Processes that are not paged are stopped and continued with the others, and notice nothing."""
    sums = expected_sums(1, 2)
    program = Job(["sh", "-c", f"trap 'echo continued >&2' CONT; cat | {AGENT} | cat; exit 3"], stderr=subprocess.PIPE)
    Agent(program).look()
    program.freeze("beside")
    again = Job([EBB, "restore", "beside"], stderr=subprocess.PIPE)
    compare(Agent(again).look(), sums[1], "between others", seals=1, resumes=1)
    check_equal(again.end(), 3, "exit code of the shell")
    check_equal(program.process.stderr.read() + again.process.stderr.read(), "", "what the shell says")


def locked():
    program, _ = started()
    folder = f"/proc/{program.pid}/fd"
    page = next(f"{folder}/{fd}" for fd in os.listdir(folder) if "ebbtide-job" in os.readlink(f"{folder}/{fd}"))
    with open(page, "r+b", buffering=0) as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 << 20)
        done = ebb("snapshot", str(program.pid), "locked")
        check_equal(done.returncode, 125, "a job that another tool has: exit code")
        check("another ebb" in done.stderr, f"a job that another tool has: {done.stderr!r}")
    program.freeze("locked", "--leave-running")
    check_equal(program.end(), 7, "exit code")


def own_obstacle():
    """An io_uring of a program that is not paged, beside one that is."""
    ring = "import ctypes; p = (ctypes.c_char * 120)(); fd = ctypes.CDLL(None).syscall(425, 4, p); assert fd >= 0\n"
    shell = f"{PYTHON} -c '{ring}import os; os.read(0, 1)' < \"$1\" & exec {AGENT}"
    path = os.path.join(ROOT, "fifo")
    os.mkfifo(path)
    program = Job(["sh", "-c", shell, "sh", path])
    with open(path, "wb") as file:
        Agent(program).look()
        while not has_ring(program.pid):
            pass
        refused(program, "ring", "io_uring")
        compare([Agent(program).look()[0]], expected_sums(1, 2)[1], "beside an io_uring")
        file.write(b"x")
    check_equal(program.end(), 7, "exit code")


def has_ring(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        children = file.read().split()
    for child in children:
        folder = f"/proc/{child}/fd"
        try:
            if any("io_uring" in os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)):
                return True
        except FileNotFoundError:  # a descriptor that was closed meanwhile
            pass
    return False


job.require_criu()
job.run_all([there_and_back, left_running, elsewhere, copies, one_cannot, criu_cannot, stopped, interrupted, while_it_is_restored,
             beside_others, locked, own_obstacle], 60)
