"""kill -9: of the program at any moment, of one that forks, and of `ebb run`. Nothing is left: no process, no file, no space,
no control page; a job beside it on the same tier is not disturbed, and the next one works.

    killed.py --library LIB --ebb EBB --slow FOLDER PROGRAM
"""
import contextlib
import functools
import os
import random
import signal
import sys

from told import (MIB, PAGE, JobPage, Told, Tiers, arguments, bare_environment, expect, on_both_tiers, run_cases, state, under_library,
                  wait_until)

BUDGET, MEMORY = 32 * MIB, 64 * MIB
KILLS = 5


def processes_of(group):
    """Living processes of the process group; zombies are dead."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getpgid(int(pid)) == group and state(f"/proc/{pid}/stat") not in "ZX":
                found.append(int(pid))
    return found


def holders_of(inode):
    """Processes that have the file of this inode open or mapped (a memfd is on a device of its own: shm)."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if "memfd:ebbtide" in os.readlink(f"/proc/{pid}/fd/{fd}") and os.stat(f"/proc/{pid}/fd/{fd}").st_ino == inode:
                        found.append(int(pid))
    return found


def used(folder):
    fs = os.statvfs(folder)
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize


def filled(program):
    program.tell(f"map {MEMORY // MIB}")
    program.tell("fill 1")


def expect_all_right(program):
    good, lost = program.check(1)
    expect(good * PAGE == MEMORY and not lost, f"{good} good pages, lost: {lost}")


def expect_nothing_left(args, tiers, folder, before):
    """The space comes back when the kernel has taken the dead process's ring apart, which is not at once."""
    expect(not [name for name in os.listdir(folder) if name != "lost+found"], f"left on the tier: {os.listdir(folder)}")
    if tiers.private:
        wait_until(lambda: used(folder) <= before, f"{used(folder) - before} bytes are not given back on the tier")


def killed_at_random(args, tiers, kind, processes):
    choice = random.Random(processes)
    with tiers.of(kind) as folder:
        neighbour_page = JobPage(BUDGET)
        with under_library(args, neighbour_page, folder) as neighbour:
            filled(neighbour)
            wait_until(lambda: neighbour_page.stored >= MEMORY - BUDGET, "the neighbour is not cold")
            before = used(folder) + 64 * MIB  # what the neighbour may still take
            page = JobPage(BUDGET)  # one job: who comes next takes over what the dead had charged
            for _ in range(KILLS):
                with under_library(args, page, folder) as program:
                    filled(program)
                    program.tell(f"churn {processes}")
                    faults = page.faults + choice.randrange(1, 500)
                    wait_until(lambda: page.faults >= faults or program.child.poll() is not None, "the program does not fault")
                    expect(program.child.poll() is None, f"ended by itself with {program.child.poll()}:\n{program.said()}")
                    victims = processes_of(program.pid)
                    if processes == 1:
                        expect(len(victims) == 1, f"processes {victims}")
                    else:
                        wait_until(lambda: len(processes_of(program.pid)) == processes, "not all children are there")
                        victims = processes_of(program.pid)
                        choice.shuffle(victims)
                    for pid in victims:  # one after the other: the others go on without it for a moment
                        os.kill(pid, signal.SIGKILL)
                    code = program.wait()
                    expect(code == 128 + 9, f"exit code {code}")
                    wait_until(lambda: not processes_of(program.pid), "a process is left")
                    expect(program.said() == "", f"said: {program.said()}")
                expect_nothing_left(args, tiers, folder, before)
            with under_library(args, page, folder) as program:
                filled(program)
                expect_all_right(program)
                wait_until(lambda: [slot[0] for slot in page.slots()] == [program.pid], f"slots of the dead: {list(page.slots())}")
                expect(page.charged <= BUDGET, f"{page.charged} bytes charged")
                program.end(0)
            expect_all_right(neighbour)
            neighbour.end(0)
        for name in ("read_errors", "write_errors", "bad_pages"):
            expect(getattr(page, name) == 0 and getattr(neighbour_page, name) == 0, f"{name} is not 0")


def ebb_is_killed(args, tiers, kind):
    """The program goes on without `ebb run`, keeps its budget and its data, and leaves nothing either."""
    with tiers.of(kind) as folder:
        before = used(folder)
        command = [args.ebb, "run", "-q", "--dram", f"{BUDGET // MIB}M", "--slow", f"file:{folder}", "--", args.program]
        with Told(command, bare_environment()) as program:
            filled(program)
            with open(f"/proc/{program.child.pid}/task/{program.child.pid}/children", encoding="ascii") as children:
                program.pid = int(children.read().split()[0])
            with open(f"/proc/{program.pid}/environ", encoding="ascii") as environment:
                variables = dict(word.split("=", 1) for word in environment.read().split("\0") if "=" in word)
            control = os.stat(variables["EBB_JOB"]).st_ino
            expect(program.pid in holders_of(control), "the program does not hold the control page")
            os.kill(program.child.pid, signal.SIGKILL)
            expect(program.wait() == 128 + 9, "`ebb run` was not killed")
            expect_all_right(program)
            program.tell("fill 1")
            expect_all_right(program)
            expect(len(program.store_files(folder)) > 0, "no store file, so nothing was tested")
            program.send("end 0")
            wait_until(lambda: not processes_of(program.child.pid), "the program does not end")
            expect(program.said() == "", f"said: {program.said()}")
            expect(not holders_of(control), "the control page is left")
        expect_nothing_left(args, tiers, folder, before)
        with Told(command, bare_environment()) as program:
            filled(program)
            expect_all_right(program)
            program.end(3)


def started_without_ebb(args, tiers, kind):
    """What the program starts after `ebb run` was killed finds no control page: it runs, untiered, and says so."""
    with tiers.of(kind) as folder:
        command = [args.ebb, "run", "--dram", f"{BUDGET // MIB}M", "--slow", f"file:{folder}", "--", args.program]
        with Told(command, bare_environment()) as program:
            filled(program)
            os.kill(program.child.pid, signal.SIGKILL)
            program.wait()
            program.send(f"exec {args.program}")
            filled(program)
            expect_all_right(program)
            expect("cannot join the job" in program.said(), f"said: {program.said()}")
            program.send("end 0")
            wait_until(lambda: not processes_of(program.child.pid), "the program does not end")


def main():
    args = arguments(__doc__, "--ebb")
    tiers = Tiers(args.slow)
    cases = [(f"one process, {kind}", functools.partial(killed_at_random, args, tiers, kind, 1)) for kind in ("file", "tmpfs")]
    cases += [(f"three processes, {kind}", functools.partial(killed_at_random, args, tiers, kind, 3)) for kind in ("file", "tmpfs")]
    return run_cases(cases + on_both_tiers(args, tiers, ebb_is_killed, started_without_ebb))


if __name__ == "__main__":
    sys.exit(main())
