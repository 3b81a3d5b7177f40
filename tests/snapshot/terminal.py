"""An interactive job on a terminal is frozen, brought back on another one, and copied: terminal.py EBB."""
import os
import pty
import signal
import sys

import job
from job import EBB, PYTHON, check, check_equal, ebb

# Looks all the time whether it is in the foreground of its terminal; has a child that is stopped. Ctrl-C ends it at
# once: with Python's own handler one that comes just before it reads again waits for the next line.
PROGRAM = """
import ctypes, os, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_DFL)
child = os.fork()
if child == 0: ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if child == 0: os.kill(os.getpid(), signal.SIGSTOP)
if child == 0: os._exit(0)
os.waitpid(child, os.WUNTRACED)
background = []
def look():
    while True:
        group = os.getpgrp()  # may be another one when it comes back
        if os.tcgetpgrp(0) != group == os.getpgrp(): background.append(True)
threading.Thread(target=look, daemon=True).start()
def stopped(): return open(f"/proc/{child}/stat").read().split()[2] == "T"
print("ready", sys.stdin.isatty(), flush=True)
for line in sys.stdin: print("got:" + line.strip(), sys.stdout.isatty(), not background, stopped(), flush=True)
"""


def read_until(fd, word):
    text = b""
    while word not in text:
        try:
            part = os.read(fd, 1000)
        except OSError as error:  # nobody has the terminal any more
            raise RuntimeError(f"no {word} in {text}") from error
        text += part
    return text


def shell(report, own_group):
    """The session leader: starts the job as shells do, in the foreground; reports its PID and its end."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        if own_group:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.closerange(3, 256)  # whatever the test itself was started with
        os.execv(PYTHON, [PYTHON, "-c", PROGRAM])
    os.write(report, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def on_terminal(*command):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    os.set_inheritable(terminal, False)
    return pid, terminal


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def trip(tag, own_group):
    reading, writing = os.pipe()
    session, terminal = pty.fork()
    if session == 0:
        shell(writing, own_group)
    os.set_inheritable(terminal, False)
    program = int(os.read(reading, 100))
    read_until(terminal, b"ready True")
    os.write(terminal, b"one\n")
    read_until(terminal, b"got:one True True True")
    done = ebb("snapshot", str(program), tag, "-q")
    if done.returncode != 0:
        raise RuntimeError(f"{tag}: {done.stderr}")
    check_equal(os.read(reading, 100), b"-9\n", f"{tag}: end of the frozen job")
    ended(session)
    os.close(terminal)

    without = ebb("restore", tag, start_new_session=True)
    check(without.returncode == 125 and "terminal" in without.stderr, f"{tag}, without a terminal: {without.stderr}")
    for words in (("restore", tag), ("clone", tag)):
        front, terminal = on_terminal(EBB, *words)
        os.write(terminal, b"two\n")
        read_until(terminal, b"got:two True True True")
        os.write(terminal, b"\x03")
        expected = (-signal.SIGINT,) if words[0] == "restore" else (128 + signal.SIGINT,)
        code = ended(front)
        check(code in expected, f"{words}: exit code {code} after Ctrl-C")
        os.close(terminal)


def in_own_group():
    trip("own-group", True)


def in_session_group():
    trip("session-group", False)


# Started in the background of a shell it would ignore them, and so would all that it starts.
for number in (signal.SIGINT, signal.SIGQUIT): signal.signal(number, signal.SIG_DFL)
job.require_criu()
job.run_all([in_own_group, in_session_group], 60)
