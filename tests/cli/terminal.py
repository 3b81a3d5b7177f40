"""Ctrl-C and Ctrl-Z on a terminal: a small job-control shell runs `ebb run` in a pseudo terminal and looks at what it gets.

Usage: terminal.py EBB TIER
"""
import os
import pty
import signal
import sys

EBB, TIER = sys.argv[1:]
PROGRAM = "echo ready; read line; echo got:$line; read line"
failures = []


def check(condition, text):
    if not condition:
        failures.append(text)


def read_until(fd, word):
    text = b""
    while word not in text:
        text += os.read(fd, 1000)
    return text


def shell(report):
    """The session leader: starts the job in its own group in the foreground; reports each change of its state."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(EBB, [EBB, "run", "-q", "-d", "64M", "-s", "file:" + TIER, "sh", "-c", PROGRAM])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.write(report, b"stopped %d\n" % os.WSTOPSIG(status))
            os.tcsetpgrp(0, job)
            os.killpg(job, signal.SIGCONT)
        else:
            what = b"signal %d\n" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else b"exit %d\n" % os.WEXITSTATUS(status)
            os.write(report, what)
            os._exit(0)


reading, writing = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    shell(writing)
signal.alarm(60)
read_until(terminal, b"ready")
os.write(terminal, b"\x1a")
state = os.read(reading, 100)
check(state == b"stopped %d\n" % signal.SIGTSTP, f"Ctrl-Z: the shell saw {state}")
os.write(terminal, b"hello\n")
read_until(terminal, b"got:hello")
os.write(terminal, b"\x03")
state = os.read(reading, 100)
check(state == b"signal %d\n" % signal.SIGINT, f"Ctrl-C: the shell saw {state}")
os.waitpid(pid, 0)
for failure in failures:
    print("FAIL:", failure)
sys.exit(1 if failures else 0)
