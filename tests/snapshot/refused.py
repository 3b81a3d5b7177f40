"""What cannot be frozen or brought back: the reason is told, and the job goes on: refused.py EBB COUNTER."""
import os
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

COUNTER = sys.argv[2]
LOOP = """
for line in sys.stdin:
    print("alive", flush=True)
"""
WITH = {
    "userfaultfd": "import ctypes, sys; fd = ctypes.CDLL(None).syscall(323, 0o2000000); assert fd >= 0",
    "io_uring": "import ctypes, sys; p = (ctypes.c_char * 120)(); fd = ctypes.CDLL(None).syscall(425, 4, p); assert fd >= 0",
    "TCP connection": "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
                      "c = socket.create_connection(s.getsockname()); a = s.accept()",
    "mount namespace": "import sys",
    "unix socket": "import socket, sys; a = socket.socket(fileno=int(sys.argv[1]))",
}


def refused(word, *arguments, **options):
    program = Job([PYTHON, "-c", WITH[word] + LOOP, *arguments], **options)
    if program.ask("go") != "alive":
        print(f"SKIP: {word} cannot be had here")
        return
    done = ebb("snapshot", str(program.pid), "refused")
    check_equal(done.returncode, 125, f"{word}: exit code")
    check(word in done.stderr and done.stderr.count("\n") == 1, f"{word}: {done.stderr!r}")
    check_equal(program.ask("go"), "alive", f"{word}: the job after the refusal")
    check(not os.path.exists(os.environ["EBB_SNAPSHOTS"] + "/refused"), f"{word}: something was left behind")
    check_equal(program.end(), 0, f"{word}: exit code of the job")


def userfaultfd():
    refused("userfaultfd")


def io_uring():
    refused("io_uring")


def tcp():
    refused("TCP connection")


def outside_socket():
    import socket
    ours, theirs = socket.socketpair()
    refused("unix socket", str(theirs.fileno()), pass_fds=[theirs.fileno()])
    ours.close()


def lost_mount():
    folder = os.path.join(ROOT, "lost")
    os.mkdir(folder)
    done = subprocess.run(["mount", "-t", "tmpfs", "ebb-lost", folder], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(f"SKIP: a file of which the mount is gone takes root: {done.stderr.strip()}")
        return
    try:
        log = open(os.path.join(folder, "log"), "w", encoding="utf-8")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    with log:
        refused("mount namespace", stderr=log)


GUARD = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"x" * (1 << 16))
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None)
guarded = libc.madvise(ctypes.c_void_p(address + 8192), ctypes.c_size_t(4096), 102) == 0  # MADV_GUARD_INSTALL
for line in sys.stdin: print("alive" if guarded else "none", flush=True)
"""


def guard_pages():
    program = Job([PYTHON, "-c", GUARD])
    if program.ask("go") != "alive":
        print("SKIP: this kernel has no MADV_GUARD_INSTALL")
        program.end()
        return
    done = ebb("snapshot", str(program.pid), "guarded", "-q")
    if done.returncode != 0:
        check(done.returncode == 125 and "CRIU 4.2" in done.stderr, f"guard pages: {done.stderr!r}")
        check_equal(program.ask("go"), "alive", "guard pages: the job after the refusal")
        check_equal(program.end(), 0, "guard pages: exit code")
        return
    program.process.wait()
    again = restored("guarded")
    check_equal((again.ask("go"), again.end()), ("alive", 0), "guard pages, restored")


def foreign_session():
    """A program whose session was made outside of its PID namespace, as those of some containers."""
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--"]
    program = Job([*inside, PYTHON, "-c", "import sys" + LOOP])
    program.ask("go")
    with open(f"/proc/{program.pid}/task/{program.pid}/children", encoding="utf-8") as file:
        child = file.read().strip()
    done = ebb("snapshot", child, "refused")
    check_equal(done.returncode, 125, "foreign session: exit code")
    check("ebb run or setsid" in done.stderr, f"foreign session: {done.stderr!r}")
    check_equal(program.ask("go"), "alive", "foreign session: the job after the refusal")
    check_equal(program.end(), 0, "foreign session: exit code of the job")
    session = "import os; print(os.getsid(0) == os.getpid())"
    check_equal(Job([*inside, EBB, "run", "-q", "--", PYTHON, "-c", session]).process.communicate()[0], "True\n",
                "ebb run makes a session of the namespace")


def frozen_counter(tag, **options):
    path = os.path.join(ROOT, tag)
    program = Job([COUNTER, path], **options)
    program.ask("go")
    program.freeze(tag)
    return program, path


def changed_file():
    """And its log, which the warning itself makes longer before CRIU looks at it."""
    with open(os.path.join(ROOT, "log"), "a", encoding="utf-8") as log:
        change_file(log)


def change_file(log):
    _, path = frozen_counter("changed", stderr=log)
    with open(path, "a", encoding="utf-8") as file:
        file.write("more\n")
    done = ebb("restore", "changed")
    check_equal(done.returncode, 125, "a changed file: exit code")
    check(path in done.stderr and "--force" in done.stderr, f"a changed file: {done.stderr!r}")
    again = Job([EBB, "restore", "changed", "--force"], stderr=log)
    check_equal(again.ask("go"), "2", "a changed file, by force")
    check_equal(again.end(), 7, "a changed file, by force: exit code")


def missing_file():
    _, path = frozen_counter("missing")
    os.remove(path)
    done = ebb("restore", "missing")
    check_equal(done.returncode, 125, "a missing file: exit code")
    check(f"{path} is missing" in done.stderr, f"a missing file: {done.stderr!r}")


def pid_in_use():
    program = Job([COUNTER, os.path.join(ROOT, "twice")])
    program.ask("go")
    program.freeze("twice", "--leave-running")
    with open(f"/proc/{program.pid}/comm", encoding="utf-8") as file:
        name = file.read().strip()
    done = ebb("restore", "twice")
    check_equal(done.returncode, 125, "PID in use: exit code")
    check(f"PID {program.pid} " in done.stderr and name in done.stderr and "ebb clone" in done.stderr,
          f"PID in use: {done.stderr!r}")
    check_equal(program.end(), 7, "PID in use: the one that has it")


def others_folder():
    frozen_counter("open")
    os.chmod(os.environ["EBB_SNAPSHOTS"] + "/open/images", 0o777)
    done = ebb("restore", "open")
    check_equal(done.returncode, 125, "a folder that others can write: exit code")


def no_such():
    for words in (("snapshot", "no-such-job", "x"), ("snapshot", "999999999", "x"), ("restore", "x"), ("clone", "x")):
        done = ebb(*words)
        check_equal(done.returncode, 125, f"{words}: exit code")
        check_equal(done.stderr.count("\n"), 1, f"{words}: lines")
    ended = Job(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    done = ebb("snapshot", str(ended.pid), "x")
    check_equal((done.returncode, done.stderr), (125, f"ebb: error: process {ended.pid} has ended\n"), "a zombie")


job.require_criu()
job.run_all([userfaultfd, io_uring, tcp, outside_socket, lost_mount, guard_pages, foreign_session, changed_file, missing_file, pid_in_use,
             others_folder, no_such], 100)
