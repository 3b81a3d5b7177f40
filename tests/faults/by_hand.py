"""Preloaded by hand, without `ebb run`: the budget holds, with a control page that the process makes for itself and shares
with the children that it forks, but with nobody else.

    by_hand.py --library LIB --slow FOLDER PROGRAM
"""
import contextlib
import mmap
import os
import sys

from told import MIB, PAGE, JobPage, Told, Tiers, arguments, bare_environment, expect, on_both_tiers, run_cases, wait_until

BUDGET, MEMORY = 32 * MIB, 96 * MIB


def page_of(pid):
    """(inode, path) of the control page that a process holds; None without one."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith("/memfd:ebbtide-job"):
                return os.stat(path).st_ino, path
    return None


class SeenPage(JobPage):
    """The control page of somebody else, to look at."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def by_hand(args, folder):
    """From a shell, which is the first process and stays small."""
    environment = bare_environment()
    environment.update(LD_PRELOAD=args.library, EBB_DRAM=f"{BUDGET // MIB}M", EBB_SLOW=f"file:{folder}")
    program = Told(["/bin/sh", "-c", f"{args.program}; exit $?"], environment)
    program.tell(f"map {MEMORY // MIB}")
    expect(page_of(program.child.pid) is None, "the shell holds a control page, though it has nothing to manage")
    program.pid = children_of(program.child.pid)[0]
    return program


def keeps_the_budget(args, tiers, kind):
    with tiers.of(kind) as folder, by_hand(args, folder) as one, by_hand(args, folder) as other:
        pages = []
        for program in (one, other):
            program.tell("fill 1")
            pages.append(page_of(program.pid))
            page = SeenPage(pages[-1][1])
            expect(page.stored >= MEMORY - BUDGET, f"{page.stored} bytes stored: nothing was tested")
            good, lost = program.check(1)
            expect(good * PAGE == MEMORY and not lost, f"{good} good pages, lost: {lost}")
            expect(page.peak_charged <= BUDGET, f"{page.peak_charged} bytes charged, budget {BUDGET}")
        expect(pages[0][0] != pages[1][0], "two programs of two shells share a page")
        for program in (one, other):
            program.end(5)
            expect(program.said() == "", f"said: {program.said()}")


def children_share_it(args, tiers, kind):
    with tiers.of(kind) as folder, by_hand(args, folder) as program:
        program.tell("fill 1")
        program.tell("churn 3")
        wait_until(lambda: len(children_of(program.pid)) == 2, "not all children are there")
        inode, path = page_of(program.pid)
        children = children_of(program.pid)
        expect([page_of(child)[0] for child in children] == [inode, inode], "a child has a page of its own")
        page = SeenPage(path)
        wait_until(lambda: {slot[0] for slot in page.slots()} == {program.pid, *children}, "not all have a slot")
        wait_until(lambda: page.charged <= BUDGET, "over the budget")


def main():
    args = arguments(__doc__)
    tiers = Tiers(args.slow)
    return run_cases(on_both_tiers(args, tiers, keeps_the_budget, children_share_it))


if __name__ == "__main__":
    sys.exit(main())
