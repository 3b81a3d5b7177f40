"""Programs that take snapshots of themselves, in C: inside.py EBB COUNTER PROGRAM LIBRARY."""
import os
import re
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, cloned, ebb, restored

PROGRAM, LIBRARY = sys.argv[3:5]
RUNNING = "before2 before1 after1 after2 running"
RESTORED = "before2 before1 restore1 restore2 restored"
REPLACE, PERSISTED = 1, 2


def run(*words, **options):
    slow = os.path.join(ROOT, "slow")
    os.makedirs(slow, exist_ok=True)
    return Job([EBB, "run", "-q", "-d", "64M", "-s", f"file:{slow}", "--name", "inside", "--", *words], **options)


def first_line(program):
    """What a restored program says by itself: it was in the middle of an answer."""
    return program.process.stdout.readline().rstrip("\n")


def error_of(answer):
    prefix = RUNNING.replace("running", "error ")
    return answer.removeprefix(prefix) if answer.startswith(prefix) else f"no error: {answer}"


def there_and_back(tag, mib):
    program = run(PROGRAM)
    program.ask(f"fill {mib}")
    total = program.ask("sum")
    check_equal(program.ask(f"snapshot {tag} 0"), RUNNING, f"{tag}: the original")
    check_equal(program.ask("sum"), total, f"{tag}: memory of the original")
    check_equal(program.ask("argument k"), "argument (none)", f"{tag}: no argument in the original")
    check("already" in error_of(program.ask(f"snapshot {tag} 0")), f"{tag}: the tag is taken")
    check_equal(program.ask(f"snapshot {tag} {REPLACE | PERSISTED}"), RUNNING, f"{tag}: it is replaced")
    check_equal(program.end(), 7, f"{tag}: exit code")
    states = ebb("snapshots", "ls").stdout
    check(re.search(rf"^{tag} +Persisted ", states, re.M), f"{tag}: {states}")
    again = restored(tag)
    check_equal(first_line(again), RESTORED, f"{tag}: restored")
    check_equal(again.ask("sum"), total, f"{tag}: memory of what was restored")
    check_equal(again.ask(f"snapshot {tag}-2 0"), RUNNING, f"{tag}: a snapshot of what was restored")
    check_equal(again.end(), 7, f"{tag}: exit code of what was restored")
    copy = cloned(f"{tag}-2", "--arg", "k=5", "--arg", "name=a=b", "--arg", "empty=")
    check_equal(first_line(copy), RESTORED + " empty= k=5 name=a=b", f"{tag}: a clone")
    check_equal((copy.ask("sum"), copy.ask("argument name"), copy.ask("argument z")),
                (total, "argument a=b", "argument (none)"), f"{tag}: what a clone has")
    check_equal(copy.ask(f"snapshot {tag}-3 0"), RUNNING, f"{tag}: a snapshot that a clone takes")
    check_equal(copy.end(), 7, f"{tag}: exit code of a clone")
    for last, said in ((cloned(f"{tag}-3", "--arg", "k=6"), " k=6"), (restored(f"{tag}-3"), "")):
        check_equal(first_line(last), RESTORED + said, f"{tag}: of a clone's snapshot")
        check_equal(last.ask("sum"), total, f"{tag}: memory of a clone's copy")
        check_equal(last.end(), 7, f"{tag}: exit code of a clone's copy")


def fits():
    there_and_back("fits", 8)


def paged():
    there_and_back("paged", 96)


def several_at_once():
    program = run(PROGRAM)
    check_equal(program.ask("threads 3 at-once"), "errors 0 running 3 restored 0", "three threads")
    check_equal(program.end(), 7, "exit code of three threads")
    again = restored("at-once-1")
    found = first_line(again)
    check(" restored 1" in found or " restored 2" in found or " restored 3" in found, f"one of three, restored: {found}")
    check_equal(again.end(), 7, "exit code of three threads, restored")


def family():
    """A child takes the snapshot, of its parent, too."""
    program = run(PROGRAM)
    program.ask("fill 96")
    total = program.ask("sum")
    check_equal(program.ask("fork family"), RUNNING, "a child")
    check_equal(program.end(), 7, "exit code of the parent")
    again = restored("family")
    check_equal(first_line(again), RESTORED, "a child, restored")
    check_equal(again.ask("sum"), total, "its parent, restored")
    check_equal(again.end(), 7, "exit code of the parent, restored")


def without_run():
    """Preloaded by hand, with a budget and without."""
    for tag, more in (("off", {}), ("by-hand", {"EBB_DRAM": "64M", "EBB_SLOW": f"file:{ROOT}/slow"})):
        program = Job([PROGRAM], env=dict(os.environ, LD_PRELOAD=LIBRARY, **more))
        program.ask("fill 96")
        total = program.ask("sum")
        check_equal(program.ask(f"snapshot {tag} 0"), RUNNING, tag)
        check_equal(program.end(), 7, f"{tag}: exit code")
        again = restored(tag)
        check_equal((first_line(again), again.ask("sum")), (RESTORED, total), f"{tag}, restored")
        check_equal(again.end(), 7, f"{tag}: exit code of what was restored")


def not_available():
    program = Job([PROGRAM])
    check_equal((first_line(program), program.end()), ("not available", 5), "without the library")


def errors():
    program = run(PROGRAM)
    check("is not a tag" in error_of(program.ask("snapshot ../x 0")), "a bad tag")
    check_equal(program.ask("snapshot x 8"), "error unknown flags", "unknown flags")
    check("is not a tag" in error_of(program.ask("snapshot -x 0")), "a tag that looks like an option")
    check_equal(program.ask("nested nested"), "refused " + RUNNING, "a hook that takes a snapshot")
    check_equal(program.end(), 7, "exit code")


def trouble_with_the_command():
    script = os.path.join(ROOT, "script")
    for text, expected in (("echo 'ebb: warning: w' >&2; echo 'ebb: error: no privilege' >&2; exit 125", "no privilege"),
                           ("kill -9 $$", "killed before the snapshot"), (None, f"cannot start {script}: ENOENT")):
        if text:
            with open(script, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n" + text + "\n")
            os.chmod(script, 0o700)
        else:
            os.remove(script)
        program = run(PROGRAM, env=dict(os.environ, EBB_COMMAND=script))
        found = error_of(program.ask("snapshot x 0"))
        check(expected in found and "warning" not in found, f"{text}: {found}")
        check_equal(program.end(), 7, "exit code")


def orphans_stay_in_the_job():
    adopt = "import ctypes, subprocess, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); sys.exit(subprocess.call(sys.argv[1]))"
    program = run(PYTHON, "-c", adopt, PROGRAM)
    found = error_of(program.ask("snapshot x 0"))
    check("PR_SET_CHILD_SUBREAPER" in found, f"a job that takes in orphans: {found}")
    check_equal(program.end(), 7, "exit code")


job.require_criu()
job.run_all([fits, paged, several_at_once, family, without_run, not_available, errors, trouble_with_the_command,
             orphans_stay_in_the_job], 60)
