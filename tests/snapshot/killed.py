"""A paged job of three processes, and a command that is killed at each of its steps, or whose CRIU is killed: killed.py EBB
COUNTER [ROUNDS].

Whatever is killed, the job goes on with the right contents, or there is a snapshot from which it comes back with them.
With ROUNDS: CRIU is killed so many times, at other moments each.
"""
import json
import os
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 4
MOST = 100  # steps: more than there are

FAMILY = [PYTHON, "-c", job.FAMILY, "40", "2", "8", "0"]


class Family:
    """The job, and what it has to answer."""

    def __init__(self):
        self.name = None
        self.expected = None
        self.start()

    def start(self):
        self.job = Job([EBB, "run", "-q", "-d", "64M", "-s", f"file:{ROOT}", "--name", "family", "--", *FAMILY])
        self.name = "family"
        self.expected = self.job.ask("0")

    def check(self, what):
        check_equal(self.job.ask("0"), self.expected, what)

    def change(self):
        self.expected = self.job.ask("1")

    def check_alive_or_kept(self, tag, what):
        """Whether it had to be brought back. CRIU may end the job after the command was killed, or let it go on."""
        try:
            answer = self.job.ask("0")
        except BrokenPipeError:
            answer = ""
        if answer:
            check_equal(answer, self.expected, what)
            return False
        self.job.process.wait()
        check(states().get(tag) in ("Created", "Persisted"), f"{what}: neither the job nor its snapshot is there")
        self.job = restored(tag)
        self.name = str(self.job.pid)
        self.check(what + ", brought back")
        return True


def states():
    lines = subprocess.run([EBB, "snapshots", "ls"], stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    return {words[0]: words[1] for words in map(str.split, lines[1:])}


def killed_at(step, *words):
    """The exit code of `ebb WORDS...` that kills itself at its step; 0 when it has not so many."""
    return ebb(*words, env=dict(os.environ, EBB_TEST_FAILURE_POINT=str(step))).returncode


def left_running():
    family, deaths = Family(), 0
    for step in range(1, MOST):
        family.change()
        code = killed_at(step, "snapshot", family.name, f"left-{step}", "--leave-running", "-q", "--wait", "persisted")
        family.check(f"--leave-running, killed at step {step}")
        if code == 0:
            break
        deaths += 1
        check_equal(code, -signal.SIGKILL, f"step {step}")
    check(deaths >= 25, f"only {deaths} steps")
    print(f"{deaths} steps of a snapshot that leaves the job running")
    check_equal(family.job.end(), 0, "exit code after all of it")


def ending():
    family, deaths, back = Family(), 0, 0
    for step in range(1, MOST):
        family.change()
        tag = f"end-{step}"
        code = killed_at(step, "snapshot", family.name, tag, "-q", "--wait", "persisted")
        back += family.check_alive_or_kept(tag, f"killed at step {step}")
        if code == 0:
            break
        deaths += 1
    check(deaths >= 20 and back >= 1, f"{deaths} deaths, {back} times brought back")
    print(f"{deaths} steps of a snapshot that ends the job, {back} times brought back")
    check_equal(family.job.end(), 0, "exit code after all of it")


def restoring():
    family = Family()
    family.change()
    family.job.freeze("kept", name=family.name)
    deaths = 0
    for step in range(1, MOST):
        job_of_it = subprocess.Popen([EBB, "restore", "kept"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     env=dict(os.environ, EBB_TEST_FAILURE_POINT=str(step)))
        job_of_it.stdin.write("0\n")
        job_of_it.stdin.close()
        code = job_of_it.wait()
        if code == 0:
            check_equal(job_of_it.stdout.readline().strip(), family.expected, "the restore that was not killed")
            break
        check_equal(code, -signal.SIGKILL, f"restore, step {step}")
        deaths += 1
        for pid in pids_of("kept"):  # restored and still stopped: nobody is there to let it go
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        job_of_it.stdout.close()
    check(deaths >= 4, f"only {deaths} steps of a restore")
    print(f"{deaths} steps of a restore")


def pids_of(tag):
    with open(f"{os.environ['EBB_SNAPSHOTS']}/{tag}/manifest.json", encoding="utf-8") as file:
        return json.load(file)["pids"]


def criu_child(of):
    try:
        with open(f"/proc/{of}/task/{of}/children", encoding="utf-8") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def criu_killed():
    family = Family()
    for round_ in range(ROUNDS):
        family.change()
        tag = f"criu-{round_}"
        tool = subprocess.Popen([EBB, "snapshot", family.name, tag, "-q"], stderr=subprocess.PIPE, text=True)
        children = []
        while tool.poll() is None and not children:
            children = criu_child(tool.pid)
        # Later and later: CRIU takes some 100 ms.
        for _ in range(round_ * 200):
            if tool.poll() is not None:
                break
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        tool.communicate()
        family.check_alive_or_kept(tag, f"CRIU killed, round {round_}")
    check_equal(family.job.end(), 0, "exit code after all of it")


job.require_criu()
CASES = [left_running, ending, restoring, criu_killed]
job.run_all(CASES, 170 + 10 * ROUNDS)
