"""File systems that are full at some stage of a snapshot, a restore, an export: full.py EBB COUNTER [all].

The message says which one, nothing half-made is left, and the job goes on. And snapshots on another file system than the
slow tier. Needs root, to mount small file systems.
"""
import errno
import os
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, cloned, ebb, remove, restored, snapshot_stopped_at

ALL = len(sys.argv) > 3
SMALL = os.path.join(ROOT, "small")  # a tmpfs of MIB
MIB = 1536 if ALL else 512  # what is refused late leaves its copy of the heap to the job
FULL = os.path.join(SMALL, "full")
PLACE = os.path.join(SMALL, "snapshots")
SLOW = os.path.join(ROOT, "slow")
FAMILY = [PYTHON, "-c", job.FAMILY, "48", "2", "8", "0"]


def mount():
    os.mkdir(SMALL)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}m,mode=755", "ebb-small", SMALL], stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        print(f"SKIP: cannot mount a small tmpfs, which needs root: {done.stderr.strip()}")
        job.finish(77)
    os.mkdir(SLOW)
    os.environ["EBB_SNAPSHOTS"] = PLACE


def fill(left):
    """All but so many bytes, now."""
    with open(FULL, "wb") as file:
        for last in [False] * 100 + [True]:
            free = os.statvfs(SMALL).f_bavail * os.statvfs(SMALL).f_frsize - left
            try:
                if free > 0:
                    os.posix_fallocate(file.fileno(), 0, free)
                return
            except OSError as error:  # somebody took of it meanwhile, what is persisted in the background too
                if error.errno != errno.ENOSPC or last:
                    raise


def empty():
    if os.path.exists(FULL):
        os.remove(FULL)


def names():
    return sorted(set(os.listdir(PLACE)) - {".lock"}) if os.path.exists(PLACE) else []


def check_refused(done, what, *words):
    check_equal((done.returncode, done.stderr.count("\n")), (125, 1), f"{what}: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"{what}: no {word!r} in {done.stderr!r}")


class Family:
    """A paged job of three processes, and one that nobody disturbs."""

    def __init__(self, slow):
        self.program = Job([EBB, "run", "-q", "-d", "64M", "-s", f"file:{slow}", "--name", "family", "--", *FAMILY])
        self.other = Job(FAMILY)
        self.name = "family"
        self.check("at first")

    def check(self, what):
        answer = self.other.ask("1")
        check_equal(self.program.ask("1"), answer, what)
        return answer

    def freeze(self, tag):
        self.program.freeze(tag, name=self.name)
        self.program = restored(tag)
        self.name = str(self.program.pid)

    def end(self):
        check_equal((self.program.end(), self.other.end()), (0, 0), "exit codes")


def copied_ahead(family):
    """Before the job is stopped the snapshot's folder has most of the heap."""
    found = []

    def look():
        heap = next(os.path.join(PLACE, name, "heap") for name in os.listdir(PLACE) if name.startswith(".draft-tight"))
        found.extend(os.stat(os.path.join(heap, name)).st_blocks * 512 for name in os.listdir(heap))

    done = snapshot_stopped_at("stop", family.name, "tight", look, "--leave-running")
    check_equal(done.returncode, 0, "snapshot that is looked at")
    check(sum(found) >= 40 << 20, f"copied before the stop: {found}")
    family.check("after the snapshot that was looked at")
    check_equal(ebb("snapshots", "rm", "tight").returncode, 0, "rm of the snapshot that was looked at")


def elsewhere():
    """The slow tier on the disk, snapshots in memory: files are copied, from one generation to the next as well, and while
    the job runs."""
    family = Family(SLOW)
    copied_ahead(family)
    copied_ahead(family)  # what it has now lost its name with the snapshot
    for generation in range(1, 4):
        family.freeze(f"g{generation}")
        family.check(f"generation {generation} on another file system")
        check_equal(ebb("snapshots", "verify", f"g{generation}").returncode, 0, f"verify of generation {generation}")
        if generation > 1:  # what it was restored from goes while it runs
            remove(f"g{generation - 1}")
            family.check(f"after rm of generation {generation - 1}")
    remove("g3")
    family.check("after the last snapshot is gone")
    family.freeze("again")
    answer = family.check("frozen again after that")
    copy = cloned("again")
    check_equal(copy.ask("1"), answer, "a copy does what the job did")
    check_equal(copy.end(), 0, "exit code of the copy")
    family.end()
    ebb("snapshots", "prune", "--keep-last", "0")
    check_equal(names(), [], "after prune")


def snapshot_filled_at(step, left, name):
    """The file system has so many bytes left from this step of the tool on."""
    return snapshot_stopped_at(step, name, "tight", lambda: fill(left), "--leave-running", "--wait", "persisted")


def filling(family, stage, left):
    done = snapshot_filled_at(stage, left, family.name)
    what = f"full at {stage}, {left} bytes left"
    if done.returncode == 0:
        empty()
        check_equal(ebb("snapshots", "verify", "tight").returncode, 0, f"{what}: verify")
        check_equal(ebb("snapshots", "rm", "tight").returncode, 0, f"{what}: rm")
    else:
        check_refused(done, what, SMALL, "free")
        check(any(word in done.stderr for word in ("space", "full")), f"{what}: {done.stderr!r}")
        empty()
        if names() == ["tight"]:  # it could not be persisted: it is there as it was created
            check_equal(ebb("snapshots", "verify", "tight").returncode, 0, f"{what}: verify of what is only created")
            check_equal(ebb("snapshots", "rm", "tight").returncode, 0, f"{what}: rm of what is only created")
    check_equal(names(), [], f"{what}: nothing is left")
    family.check(what)
    return done.returncode != 0


def full_elsewhere():
    family, refusals = Family(SLOW), 0
    for stage in ("ask", "sealing", "start criu", "criu works", "record files", "write manifest") if ALL else ("ask", "start criu"):
        for left in (0, 1 << 16, 3 << 20) if ALL else (1 << 16,):
            refusals += filling(family, stage, left)
    check(refusals >= (6 if ALL else 1), f"only {refusals} refusals")
    family.freeze("whole")
    family.check("once there is space again")
    family.end()
    remove("whole")


def full_tier():
    """The slow tier and the snapshots on one file system that gets full."""
    family, refusals = Family(SMALL), 0
    for stage in ("ask", "sealing", "start criu", "criu works") if ALL else ("ask", "start criu"):
        for left in (0, 1 << 20, 8 << 20) if ALL else (0,):
            refusals += filling(family, stage, left)
    check(refusals >= (4 if ALL else 1), f"only {refusals} refusals")
    family.freeze("whole")
    family.check("once there is space again")
    fill(0)
    family.check("restored, and the tier is full")
    empty()
    family.end()
    remove("whole")


GHOST = """
import sys, tempfile
gone = tempfile.TemporaryFile(dir=sys.argv[1])
for i in range(40): gone.write(bytes([i]) * (1 << 20))
gone.flush()
for line in sys.stdin:
    gone.seek(0)
    print(sum(gone.read(1 << 20)[0] for _ in range(40)), flush=True)
"""


def full_for_criu():
    """What CRIU itself writes does not fit: a deleted file that nobody counted. And what it has to make again at a restore."""
    program = Job([PYTHON, "-c", GHOST, SLOW])
    check_equal(program.ask("x"), "780", "at first")
    fill(32 << 20)
    done = ebb("snapshot", str(program.pid), "ghost")
    check_refused(done, "CRIU's images", SMALL, "the job goes on", "full")
    check_equal((program.ask("x"), names()), ("780", []), "after CRIU had no space")
    fill(1 << 20)
    done = ebb("snapshot", str(program.pid), "ghost")
    check_refused(done, "before CRIU", SMALL, "not enough space", "free")
    check_equal((program.ask("x"), names()), ("780", []), "after the space was counted")
    empty()
    program.freeze("ghost", "--wait", "persisted")
    for words, folder in ((("export", "ghost", f"{SMALL}/ghost.tar"), SMALL), (("export", "ghost", "-"), None)):
        fill(8 << 20)
        with open(f"{SMALL}/out" if folder is None else os.devnull, "wb") as out:
            done = subprocess.run([EBB, "snapshots", *words], stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        check_refused(done, f"{words}", "No space left")
        check(folder is None or sorted(os.listdir(SMALL)) == ["full", "snapshots"], f"{words}: {os.listdir(SMALL)}")
        if folder is None:
            os.remove(f"{SMALL}/out")
    empty()
    archive = os.path.join(SLOW, "ghost.tar")
    check_equal(ebb("snapshots", "export", "ghost", archive).returncode, 0, "export")
    fill(8 << 20)
    done = ebb("snapshots", "import", archive, "--as", "other")
    check_refused(done, "import", SMALL, "space")
    check_equal(names(), ["ghost"], "after the import that did not fit")
    os.environ["TMPDIR"] = SMALL  # for CRIU's log and edited images
    fill(0)
    done = ebb("restore", "ghost")
    if done.returncode != 0:
        check_refused(done, "restore with a full TMPDIR", "space")
    empty()
    del os.environ["TMPDIR"]
    again = restored("ghost")
    check_equal(again.ask("x"), "780", "restored")
    check_equal(again.end(), 0, "exit code")
    ebb("snapshots", "rm", "ghost")


job.require_criu()
mount()
try:
    job.run_all([elsewhere, full_elsewhere, full_tier, full_for_criu], 400 if ALL else 110)
finally:
    subprocess.run(["umount", "-l", SMALL], check=False)
