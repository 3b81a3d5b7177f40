"""A paged job of three processes, and a command that is killed at each of its steps, or whose CRIU is killed: killed.py EBB
COUNTER [ROUNDS].

Whatever is killed, the job goes on with the right contents, or there is a snapshot from which it comes back with them; and
nothing of a restore stays behind that would be in the way of the next.
Without ROUNDS: a process of the job alone, at a few moments. With them: CRIU is killed so many times, at other moments each.
"""
import hashlib
import json
import os
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

COUNTER = sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 0
MOST = 100  # steps: more than there are

FAMILY = [PYTHON, "-c", job.FAMILY, "40", "2", "8", "0"]


# A parent that answers whatever becomes of its children, which write to what they share with it.
SIBLINGS = """
import hashlib, os, sys
blocks = [bytearray([i % 251]) * (1 << 20) for i in range(60)]
children = []
for k in range(3):
    pid = os.fork()
    if pid == 0:
        while True:
            for block in blocks[k::3]: block[5] = (block[5] + 1) % 256
    children.append(pid)
print(*children, flush=True)
for line in sys.stdin:
    for block in blocks[::2]: block[7] = (block[7] + 1) % 256
    print(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).hexdigest()[:16], flush=True)
for pid in children: os.kill(pid, 9)
for pid in children: os.waitpid(pid, 0)
"""


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
    """The next restore finds nothing of the one that was killed."""
    family = Family()
    family.change()
    family.job.freeze("kept", name=family.name)
    deaths = 0
    for step in range(1, MOST):
        code, answer, errors = restore_once("kept", EBB_TEST_FAILURE_POINT=str(step))
        if code == 0:
            check_equal(answer, family.expected, "the restore that was not killed")
            break
        check_equal((code, errors), (-signal.SIGKILL, ""), f"restore, step {step}")
        deaths += 1
    check(deaths >= 5, f"only {deaths} steps of a restore")
    print(f"{deaths} steps of a restore")


def restore_once(tag, **variables):
    """Exit code, the first answer and the messages of a job that is asked once."""
    front = subprocess.Popen([EBB, "restore", tag], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=dict(os.environ, **variables))
    answer, errors = front.communicate("0\n")
    return front.returncode, answer.strip(), errors


def restore_killed():
    """Whoever takes part in a restore is killed, later and later: the command, CRIU, both, a process of the job."""
    program = Job([COUNTER, os.path.join(ROOT, "count")])  # not paged: CRIU lets it go itself
    check_equal(program.ask("0"), "1", "the counter")
    program.freeze("counter")
    family = Family()
    family.job.freeze("family", name=family.name)
    kinds, ends = ("command", "criu", "both", "job"), {}
    for round_ in range(ROUNDS):
        for tag, kind in ((tag, kind) for tag in ("family", "counter") for kind in kinds):
            code = restore_and_kill(tag, kind, round_ * 300)
            ends.setdefault(kind, []).append(code)
            check(code in (0, 1, 7, 125, 137, -signal.SIGKILL), f"{tag}, {kind} killed, round {round_}: exit code {code}")
    print({kind: {code: codes.count(code) for code in codes} for kind, codes in ends.items()})
    again = restored("counter")  # what had been released before it was killed may have counted
    check(int(again.ask("0")) == 2, "the counter, restored in the end")
    again.end()
    check_equal(restore_once("family"), (0, family.expected, ""), "the family, restored in the end")


def restore_and_kill(tag, kind, patience):
    pids = pids_of(tag)
    front = subprocess.Popen([EBB, "restore", tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True)
    found = []
    while front.poll() is None and not found:
        found = [pid for pid in criu_child(front.pid) if pid not in pids and name_of(pid) != "ebb"]
    look_on(front, patience)
    while kind == "job" and front.poll() is None and parent_of(pids[-1]) not in (front.pid, *pids):
        pass  # it is to be made yet
    look_on(front, patience if kind == "job" else 0)
    victims = {"command": [front.pid], "criu": found, "both": [front.pid, *found], "job": pids[-1:]}[kind]
    for pid in victims:
        if pid == front.pid or parent_of(pid) in (front.pid, *pids):  # else the number may be somebody else's
            kill(pid)
    _, errors = front.communicate()  # the end of its input ends a job that was restored
    check(front.returncode != 125 or errors.count("\n") == 1, f"{tag}, {kind} killed: {errors!r}")
    # A job that the command had let go before it was killed has the end of its input, too.
    for pid in pids if kind in ("command", "both") else []:
        while state_of(pid) not in ("", "Z"):
            pass
    return front.returncode


def look_on(process, looks):
    """So many looks long, or until it has ended."""
    for _ in range(looks):
        if process.poll() is not None:
            break


def siblings_answer(asked):
    blocks = [bytearray([i % 251]) * (1 << 20) for i in range(60)]
    for block in blocks[::2]:
        block[7] = (block[7] + asked) % 256
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()[:16]


def child_killed():
    """One process of the job is killed while a snapshot is taken: it is refused and the job goes on, or it is complete."""
    codes, expected, rounds = [], [siblings_answer(1), siblings_answer(2)], max(ROUNDS, 12)
    for round_ in range(rounds):
        siblings = Job([EBB, "run", "-q", "-d", "48M", "-s", f"file:{ROOT}", "--name", "siblings", "--", PYTHON, "-c", SIBLINGS])
        children = siblings.process.stdout.readline().split()
        answers = [siblings.ask("go")]
        options = ["--leave-running"] if round_ % 2 else []
        tool = subprocess.Popen([EBB, "snapshot", "siblings", "siblings", "-q", "--replace", *options], stderr=subprocess.PIPE,
                                text=True)
        victim = int(children[round_ % 3])
        sealed = round_ % 4 < 2  # and CRIU is about to come
        while sealed and tool.poll() is None and has_userfaultfd(victim):
            pass
        look_on(tool, round_ * (1500 if sealed else 12000) // rounds)
        kill(victim)
        _, errors = tool.communicate()
        codes.append(tool.returncode)
        check(codes[-1] == 0 or (codes[-1] == 125 and "goes on" in errors), f"round {round_}: {codes[-1]}, {errors!r}")
        if codes[-1] == 0 and not options:
            siblings.process.wait()
        else:
            answers.append(siblings.ask("go"))
            check_equal(siblings.end(), 0, f"round {round_}: end")
        if codes[-1] == 0:
            back = restored("siblings")
            answers.append(back.ask("go"))
            back.end()
        check_equal(answers, expected[:1] + expected[1:] * (len(answers) - 1), f"round {round_}: answers")
    check(0 in codes, "all were refused")
    print({code: codes.count(code) for code in set(codes)})


def has_userfaultfd(pid):
    try:
        return any("userfaultfd" in os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return True  # a descriptor was closed meanwhile: look again


def restore_killed_late():
    """A process of the job is killed when its parent cannot hear of it any more: CRIU would wait for ever."""
    family = Family()
    family.job.freeze("late", name=family.name)
    pids, missed, killed = pids_of("late"), 0, 0
    for _ in range(40):
        # Where the moment was missed, the end of its input ends the job.
        front = subprocess.Popen([EBB, "restore", "late"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        while front.poll() is None and not (blocks_all_signals(pids[0]) and parent_of(pids[-1]) == pids[0]):
            pass
        if parent_of(pids[-1]) == pids[0]:
            kill(pids[-1])
            killed += 1
        _, errors = front.communicate()
        if "was killed meanwhile" in errors:
            check_equal((front.returncode, errors.count("\n")), (125, 1), errors)
            missed += 1
        if missed:
            break
    print(f"{missed} of {killed} ends of which CRIU was not told")
    check(missed > 0, "no process was killed late enough")
    check_equal(restore_once("late"), (0, family.expected, ""), "the family, restored in the end")


def blocks_all_signals(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            blocked = next(int(line.split()[1], 16) for line in file if line.startswith("SigBlk:"))
    except (OSError, StopIteration):
        return False
    return blocked >> 32 == 0xffffffff


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def stat_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return ["", "0"]


def state_of(pid):
    return stat_of(pid)[0]


def parent_of(pid):
    return int(stat_of(pid)[1])


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


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
        look_on(tool, round_ * 200)
        for child in children:
            kill(child)
        tool.communicate()
        family.check_alive_or_kept(tag, f"CRIU killed, round {round_}")
    check_equal(family.job.end(), 0, "exit code after all of it")


job.require_criu()
CASES = [restore_killed_late, child_killed]
if ROUNDS:
    CASES += [left_running, ending, restoring, criu_killed, restore_killed]
job.run_all(CASES, 100 + 30 * ROUNDS)
