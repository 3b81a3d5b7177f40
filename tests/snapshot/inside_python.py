"""Programs that take snapshots of themselves, in Python: inside_python.py EBB COUNTER MODULE_FOLDER."""
import os
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, cloned, restored

os.environ["PYTHONPATH"] = sys.argv[3]

PROGRAM = """
import random, sys, tempfile, threading
import ebb, numpy
random.seed(1); numpy.random.seed(1)
ran = []
ebb.before_snapshot(lambda: ran.append("b1"))
ebb.before_snapshot(lambda: ran.append("b2"))
ebb.after_snapshot(lambda: ran.append("a"))
@ebb.after_restore
def first(): ran.append("r1")
ebb.after_restore(lambda: ran.append("r2"))
data = numpy.arange(int(sys.argv[1]) << 17)
tempfile.gettempdir()
print("ready", ebb.available(), ebb.arguments(), flush=True)
for line in sys.stdin:
    tag, reseed = line.split()
    ran.clear()
    print("partial:", end="")
    try:
        result = ebb.snapshot(tag, reseed=reseed == "reseed")
        print("", *ran, result, result == "running", result.arguments, int(data.sum()), tempfile.tempdir is None,
              random.random(), numpy.random.random(), flush=True)
    except ebb.SnapshotError as error:
        print("", *ran, error, flush=True)
"""
BARE = """
import ebb
try:
    print(ebb.available(), ebb.snapshot("x"))
except ebb.SnapshotError as error:
    print(ebb.available(), error)
"""


def run(*words, **options):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    return Job([EBB, "run", "-q", "-d", "128M", "-s", f"file:{slow}", "--", PYTHON, *words], **options)


def there_and_back(tag, mib):
    words = (mib << 17) - 1
    total = words * (words + 1) // 2
    program = run("-c", PROGRAM, str(mib))
    check_equal(program.process.stdout.readline(), "ready True {}\n", f"{tag}: at first")
    original = program.ask(f"{tag} reseed")
    check(original.startswith(f"partial: b2 b1 a running True {{}} {total} False 0.13436424411240122 0.417022004702574"),
          f"{tag}: the original: {original}")
    check("already" in program.ask(f"{tag} reseed"), f"{tag}: the tag is taken")
    kept = program.ask(f"{tag}-kept keep").split()[-2:]
    check_equal(program.end(), 0, f"{tag}: exit code")
    numbers = []
    for again, given in ((restored(tag), {}), (cloned(tag, "--arg", "k=5"), {"k": "5"}), (cloned(tag), {})):
        text = again.process.stdout.readline()  # what was printed before was not left in a buffer
        check(text.startswith(f" b2 b1 r1 r2 restored False {given} {total} True "), f"{tag}: restored: {text}")
        numbers.append(tuple(text.split()[-2:]))
        check_equal(again.end(), 0, f"{tag}: exit code of what was restored")
    check_equal(len(set(numbers) | {tuple(original.split()[-2:])}), 4, f"{tag}: each draws numbers of its own: {numbers}")
    again = restored(f"{tag}-kept")
    check_equal(again.process.stdout.readline().split()[-2:], kept, f"{tag}: the same numbers where that is asked for")
    check_equal(again.end(), 0, f"{tag}: exit code of the last")


def fits():
    there_and_back("fits", 16)


def paged():
    there_and_back("paged", 192)


def without_the_library():
    program = Job([PYTHON, "-c", BARE], env=dict(os.environ, EBB_DRAM="64M", PATH="/usr/bin:/bin"))
    check_equal(program.process.stdout.readline(),
                "False Ebbtide's library is not in this process: start it by `ebb run`\n", "with a budget, but no library")
    check_equal(program.end(), 0, "exit code")


def loaded_late():
    """A program that nobody runs by `ebb run`: the library is loaded beside the command."""
    path = os.path.dirname(EBB) + ":" + os.environ["PATH"]
    program = Job([PYTHON, "-c", PROGRAM, "16"], env=dict(os.environ, PATH=path))
    check_equal(program.process.stdout.readline(), "ready True {}\n", "loaded late")
    check("b2 b1 a running True" in program.ask("late reseed"), "loaded late: the original")
    check_equal(program.end(), 0, "loaded late: exit code")
    again = restored("late")
    check("r1 r2 restored" in again.process.stdout.readline(), "loaded late: restored")
    check_equal(again.end(), 0, "loaded late: exit code of what was restored")


job.require_criu()
job.run_all([fits, paged, without_the_library, loaded_late], 60)
