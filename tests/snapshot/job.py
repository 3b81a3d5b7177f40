"""What the snapshot tests share: jobs that answer line by line, and the commands that freeze, restore and copy them.

Every test: TEST.py EBB. It exits with 77 and a reason where CRIU does not work.
"""
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

EBB = os.path.abspath(sys.argv[1])
PYTHON = "/usr/bin/python3"  # Debian's, which has NumPy
ROOT = tempfile.mkdtemp(prefix="ebb-snapshot-", dir="/var/tmp")
os.environ["EBB_SNAPSHOTS"] = os.path.join(ROOT, "snapshots")
os.environ["LC_ALL"] = "C"
failures = []
jobs = []
if os.getsid(0) == 0:  # a container's: no program of it could be frozen
    os.setsid()


def reap():
    """The tests run in a child of this process, which takes the place of an init for what outlives its parent: that of a
    container may not ask for the end of anybody, and no PID would be free again."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    tests = os.fork()
    if tests == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        return
    while True:
        ended, status = os.wait()
        if ended == tests:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


reap()

def check(condition, text):
    if not condition:
        failures.append(text)
        print("FAIL:", text, flush=True)


def check_equal(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def require_criu():
    """Skips the test where snapshots cannot work, with doctor's reason."""
    report = json.loads(subprocess.run([EBB, "doctor", "--json"], stdout=subprocess.PIPE, check=False).stdout)
    for line in report["checks"]:
        if line["id"] in ("criu", "criu_privilege", "pid_namespaces") and line["status"] != "ok":
            print(f"SKIP: {line['title']}: {line['detail']}")
            finish(77)


def finish(code=None):
    shutil.rmtree(ROOT, ignore_errors=True)
    sys.exit(code if code is not None else 1 if failures else 0)


def ebb(*arguments, **options):
    options.setdefault("env", {"TMPDIR": ROOT, **os.environ})  # logs of CRIU that are kept for people
    return subprocess.run([EBB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, check=False, **options)


class Job:
    """A program whose standard input and output are pipes of ours; restored or copied, it gets new ones."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options})
        self.pid = self.process.pid
        jobs.append(self.process)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def freeze(self, tag, *options, name=None):
        """Takes a snapshot; the job ends unless it is left running."""
        done = ebb("snapshot", name or str(self.pid), tag, "-q", *options)
        if done.returncode != 0:
            raise RuntimeError(f"snapshot {tag}: {done.returncode}: {done.stderr.strip()}")
        self.statistics = done.stdout  # of --print-stats
        if "--leave-running" not in options:
            code = self.process.wait()  # its own, or that of the `ebb restore` or `ebb clone` above it
            check(code in (-signal.SIGKILL, 128 + signal.SIGKILL), f"end of the job frozen as {tag}: {code}")

    def end(self):
        """Closes its input; its exit code."""
        self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        return code


def snapshot_stopped_at(step, name, tag, meanwhile, *options):
    """Calls `meanwhile` when the tool is at this step."""
    tool = subprocess.Popen([EBB, "snapshot", name, tag, "-q", *options], env={**os.environ, "EBB_TEST_STOP_POINT": step},
                            stderr=subprocess.PIPE, text=True)
    stopped = os.waitid(os.P_PID, tool.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    check_equal((stopped.si_code, stopped.si_status), (os.CLD_STOPPED, signal.SIGSTOP), f"the snapshot comes to {step}")
    meanwhile()
    tool.send_signal(signal.SIGCONT)
    error = tool.communicate()[1]
    return subprocess.CompletedProcess(tool.args, tool.returncode, "", error)


# A parent and children that share blocks of 1 MiB since the fork, write to some of them for each line, and answer with a hash
# of all that each has: FAMILY BLOCKS CHILDREN STEP OWN, where every child has OWN blocks more.
FAMILY = """
import hashlib, multiprocessing, sys
count, children, step, own = map(int, sys.argv[1:])
blocks = [bytearray([i % 251]) * (1 << 20) for i in range(count)]
def answer(i, word):
    for block in blocks[i::step]: block[100 + i] = (block[100 + i] + int(word)) % 256
    return hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16]
def child(i, pipe):
    for end in pipes: end.close()
    blocks.extend(bytearray([i]) * (1 << 20) for _ in range(own))
    try:
        for word in iter(pipe.recv, "end"): pipe.send(answer(i, word))
    except EOFError:  # the parent was killed
        pass
pipes = []
for i in range(1, children + 1):
    ours, theirs = multiprocessing.Pipe()
    pipes.append(ours)
    multiprocessing.get_context("fork").Process(target=child, args=(i, theirs)).start()
for line in sys.stdin:
    for pipe in pipes: pipe.send(line)
    try:
        print(answer(0, line), *[pipe.recv() for pipe in pipes], flush=True)
    except BrokenPipeError:  # the test has ended
        break
for pipe in pipes: pipe.send("end")
"""


def restored(tag, *options):
    job = Job([EBB, "restore", tag, *options])
    return job


def cloned(tag, *options):
    return Job([EBB, "clone", tag, *options])


def remove(tag):
    """When nobody has it any more, who persists it included."""
    with open(os.path.join(os.environ["EBB_SNAPSHOTS"], tag, "in-use"), "rb") as in_use:
        fcntl.flock(in_use, fcntl.LOCK_EX)
    done = ebb("snapshots", "rm", tag)
    check_equal((done.returncode, done.stderr), (0, ""), f"rm of {tag}")


def run_all(cases, seconds):
    """Runs functions one after the other within a time, then ends the test."""
    signal.alarm(seconds)
    for case in cases:
        before = len(failures)
        try:
            case()
        except Exception as error:  # the other cases are worth running
            check(False, f"{case.__name__}: {error!r}")
        print("ok" if len(failures) == before else "FAILED", case.__name__, flush=True)
        for process in jobs:
            process.kill()  # only what a failure left behind
        jobs.clear()
    finish()
