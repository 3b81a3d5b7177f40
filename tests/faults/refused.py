"""Where the machine refuses what paging needs, the program runs as it would without us, over the budget, and one line says what
is missing and what mends it.

    refused.py --library LIB --slow FOLDER --refused REFUSED PROGRAM
"""
import functools
import sys

from told import MIB, PAGE, JobPage, Told, Tiers, arguments, expect, run_cases

BUDGET, MEMORY = 32 * MIB, 96 * MIB
# What is refused, on which tier it is needed, what is said.
CASES = (("uffd", "file", "no userfaultfd for kernel-mode faults"),
         ("uring", "file", "cannot start the pager"),
         ("uring", "tmpfs", "cannot start the pager"))  # which sleeps in a ring there, too


def refused(args, tiers, what, kind, said):
    with tiers.of(kind) as folder:
        page = JobPage(BUDGET)
        with Told([args.refused, what, args.program], page.environment(args.library, f"file:{folder}", "1")) as program:
            program.tell(f"map {MEMORY // MIB}")
            program.tell("fill 1")
            good, lost = program.check(1)
            expect(good * PAGE == MEMORY and not lost, f"{good} good pages, lost: {lost}")
            lines = program.said().splitlines()
            expect(page.stored == 0, f"{page.stored} bytes stored: it was not refused")
            about = [line for line in lines if said in line]
            expect(len(about) == 1, f"{len(about)} lines of '{said}' in:\n" + "\n".join(lines))
            expect("ebb doctor" in about[0], f"does not say what mends it: {about[0]}")


def main():
    args = arguments(__doc__, "--refused")
    tiers = Tiers(args.slow)
    return run_cases([(f"{what}, {kind}", functools.partial(refused, args, tiers, what, kind, said))
                      for what, kind, said in CASES])


if __name__ == "__main__":
    sys.exit(main())
