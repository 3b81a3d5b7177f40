"""Jobs, snapshots and commands of different users: users.py EBB COUNTER. Needs root, to be several users."""
import json
import os
import shutil
import stat
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

COUNTER = sys.argv[2]
USER = 65534  # nobody
PLAIN = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
ABLE = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
        "--inh-caps=+checkpoint_restore,+sys_ptrace", "--ambient-caps=+checkpoint_restore,+sys_ptrace"]
COUNT = """
import os, sys
file = open(sys.argv[1], "w")
n = 0
for line in sys.stdin:
    n += 1
    print(n, *os.getresuid(), *os.getresgid(), os.getgroups(), oct(os.umask(0o27)), file=file, flush=True)
    print(n, *os.getresuid(), *os.getresgid(), os.getgroups(), flush=True)
"""


def home():
    """A folder of the other user, which it can reach; the command, too, where its own place is closed to others."""
    folder = os.path.join(ROOT, "home")
    os.makedirs(folder)
    os.chmod(ROOT, 0o711)
    os.chown(folder, USER, USER)
    return folder


HOME = home()


def as_user(*words, how=None, **variables):
    return subprocess.run([*(how or PLAIN), EBB, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, check=False, cwd="/",
                          env=dict(os.environ, EBB_SNAPSHOTS=HOME + "/snapshots", HOME=HOME, **variables))


def theirs(how=None):
    path = os.path.join(HOME, "count")
    program = Job([*(how or PLAIN), PYTHON, "-c", COUNT, path], cwd="/", stderr=subprocess.DEVNULL)
    check_equal(program.ask("x"), f"1 {USER} {USER} {USER} {USER} {USER} {USER} []", "the user's job")
    return program, path


def says(done, *words):
    check_equal((done.returncode, done.stderr.count("\n")), (125, 1), f"{done.args[-3:]}: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"{done.args[-3:]}: no {word!r} in {done.stderr!r}")


def without_privilege():
    """One line that names the privilege, and nothing that has begun."""
    program, _ = theirs()
    done = as_user("snapshot", str(program.pid), "mine")
    says(done, "CAP_CHECKPOINT_RESTORE", "root", "ebb doctor")
    check(not os.listdir(HOME + "/snapshots") if os.path.exists(HOME + "/snapshots") else True, "something was left")
    check_equal(program.ask("x")[:2], "2 ", "the job after the refusal")
    check_equal(program.end(), 0, "exit code")
    other = Job([COUNTER, os.path.join(ROOT, "roots")])
    other.ask("x")
    says(as_user("snapshot", str(other.pid), "roots"), "belongs to someone else")
    check_equal(other.end(), 7, "exit code")


def may_look_at_others():
    """Root of a container may be without this: CRIU asks for the limits of a process of another user."""
    with open("/proc/self/status", encoding="utf-8") as file:
        able = int(next(line for line in file if line.startswith("CapEff")).split()[1], 16) >> 24 & 1
    if not able:
        program, _ = theirs()
        says(ebb("snapshot", str(program.pid), "theirs"), "CAP_SYS_RESOURCE", "the job goes on")
        check_equal(program.ask("x")[:2], "2 ", "the job after the refusal")
        check_equal(program.end(), 0, "exit code")
        print("SKIP: no CAP_SYS_RESOURCE here, to freeze jobs of other users")
    return able


def by_root():
    """Who it runs as, and how its files are, stay as they were; the snapshot is root's alone."""
    if not may_look_at_others():
        return
    program, path = theirs()
    program.freeze("theirs", "--wait", "persisted")
    for folder, _, files in os.walk(os.environ["EBB_SNAPSHOTS"] + "/theirs"):
        for name in [".", *files]:
            info = os.stat(os.path.join(folder, name))
            check_equal((info.st_uid, stat.S_IMODE(info.st_mode)), (0, 0o700 if name == "." else 0o600), f"{folder}/{name}")
    again = restored("theirs")
    check_equal(again.ask("x"), f"2 {USER} {USER} {USER} {USER} {USER} {USER} []", "restored")
    with open(path, encoding="utf-8") as file:
        check_equal(file.read().split()[-1], "0o27", "its umask")
    check_equal((os.stat(path).st_uid, again.end()), (USER, 0), "its file and exit code")
    says(as_user("restore", "theirs", how=[*PLAIN, "env", f"EBB_SNAPSHOTS={os.environ['EBB_SNAPSHOTS']}"]), "Permission denied")
    shutil.copytree(os.environ["EBB_SNAPSHOTS"] + "/theirs", HOME + "/snapshots/theirs")
    says(as_user("restore", "theirs"), "theirs")


def changed_hands():
    """A snapshot that another user has had, or could have written to, is not restored."""
    program = Job([COUNTER, os.path.join(ROOT, "hands")])
    program.ask("x")
    program.freeze("hands")
    place = os.environ["EBB_SNAPSHOTS"]
    for what, path in (("the snapshot", place + "/hands"), ("an image", place + "/hands/images/pstree.img")):
        os.chown(path, USER, USER)
        says(ebb("restore", "hands"), f"user {USER}")
        says(ebb("clone", "hands"), f"user {USER}")
        check(ebb("snapshots", "verify", "hands").returncode == 1, f"verify: {what} belongs to another user")
        os.chown(path, 0, 0)
    for path in (place, place + "/hands", place + "/hands/images", place + "/hands/images/pstree.img"):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, mode | 0o020)
        says(ebb("restore", "hands"), "others can write to")
        os.chmod(path, mode)
    says(ebb("restore", "hands", env=dict(os.environ, EBB_SNAPSHOTS=HOME + "/snapshots")), f"user {USER}")
    again = restored("hands")
    check_equal(again.ask("x"), "2", "restored")
    check_equal(again.end(), 7, "exit code")


def paged_by_root():
    """The user's own pager has to write into the snapshot, which is closed to it where root takes it: refused at once."""
    slow = os.path.join(HOME, "slow")
    os.mkdir(slow)
    os.chown(slow, USER, USER)
    heap = "import sys\nd = [bytes([i % 251]) * (1 << 20) for i in range(96)]\nfor l in sys.stdin: print(sum(b[7] for b in d), flush=True)"
    program = Job([*PLAIN, EBB, "run", "-q", "-d", "64M", "-s", f"file:{slow}", "--", PYTHON, "-c", heap], cwd="/",
                  env=dict(os.environ, EBB_SNAPSHOTS=HOME + "/snapshots", HOME=HOME))
    first = program.ask("x")
    if not is_paged(program.pid):
        print("SKIP: an ordinary user's job cannot be paged here (userfaultfd)")
        check_equal(program.end(), 0, "exit code")
        return
    says(ebb("snapshot", str(program.pid), "paged"), "the job goes on", f"user {USER}")
    check_equal(program.ask("x"), first, "the heap after the refusal")
    check(not os.path.exists(os.environ["EBB_SNAPSHOTS"] + "/paged"), "something was left behind")
    check_equal(program.end(), 0, "exit code")


def is_paged(front):
    with open(f"/proc/{front}/task/{front}/children", encoding="utf-8") as file:
        folder = f"/proc/{file.read().split()[0]}/fd"
    return any("userfaultfd" in os.readlink(f"{folder}/{name}") for name in os.listdir(folder))


def with_privilege():
    """With the two capabilities an ordinary user freezes and restores jobs of its own, as far as CRIU and the kernel do."""
    program, _ = theirs(PLAIN[:-1])  # what it may never have takes a privilege more to be restored
    done = as_user("snapshot", str(program.pid), "able", "-q", how=ABLE)
    print("as an ordinary user with capabilities:", done.returncode, done.stderr.strip())
    if done.returncode == 0:
        program.process.wait()
        show = json.loads(as_user("snapshots", "show", "able", "--json").stdout)
        check_equal(show["state"].lower() in ("created", "persisted"), True, "state")
        again = Job([*ABLE, EBB, "restore", "able"], cwd="/", stderr=subprocess.PIPE,
                    env=dict(os.environ, EBB_SNAPSHOTS=HOME + "/snapshots", HOME=HOME))
        try:
            answer = again.ask("x")
        except BrokenPipeError:
            answer = ""
        if answer:
            check_equal(answer[:2], "2 ", "restored by its user")
            check_equal(again.end(), 0, "exit code")
        else:  # where this machine's own limits are in the way
            errors = again.process.stderr.read()
            check_equal((again.process.wait(), errors.count("\n")), (125, 1), f"restore by its user: {errors!r}")
            check("CAP_SETPCAP" in errors, f"restore by its user: {errors!r}")
            print("SKIP:", errors.strip())
    else:
        check_equal(program.ask("x")[:2], "2 ", "the job after the refusal")
        check_equal(program.end(), 0, "exit code")


if os.geteuid() != 0 or not shutil.which("setpriv"):
    print("SKIP: needs root and setpriv, to be several users")
    job.finish(77)
job.require_criu()
if as_user("run", "-q", "--", "true").returncode != 0:
    print(f"SKIP: {EBB} and its library cannot be used by other users")
    job.finish(77)
job.run_all([without_privilege, by_root, changed_hands, paged_by_root, with_privilege], 100)
