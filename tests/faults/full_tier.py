"""A tier that is full: the program ends as it would, over its budget, with one warning that says why and what to do; and
once space is freed the budget is kept again.

    full_tier.py --library LIB --slow FOLDER PROGRAM
"""
import os
import sys

from told import MIB, SKIP, JobPage, Tiers, arguments, ballast, expect, on_both_tiers, run_cases, under_library, wait_until

BUDGET, MEMORY, ROOM = 64 * MIB, 224 * MIB, 64 * MIB


def warnings(program):
    return [line for line in program.said().splitlines() if "took no more pages" in line]


def expect_one_warning(program):
    found = warnings(program)
    expect(len(found) == 1, f"{len(found)} warnings instead of one:\n{program.said()}")
    expect("ENOSPC" in found[0] and "Free space" in found[0], f"neither cause nor remedy: {found[0]}")


def fill_beyond_the_tier(program, page):
    program.tell(f"map {MEMORY // MIB}")
    program.tell("fill 1")
    expect(page.write_errors > 0, "no write failed, so nothing was tested")
    expect(page.charged > BUDGET, f"{page.charged} bytes charged: nothing had to stay over the budget")
    # Several further tries, a second apart each: still one warning.
    errors = page.write_errors
    wait_until(lambda: page.write_errors >= errors + 2, "the store is not tried again")
    expect_one_warning(program)


def stays_full(args, tiers, kind):
    with tiers.of(kind, ROOM) as folder:
        page = JobPage(BUDGET)
        with under_library(args, page, folder) as program:
            fill_beyond_the_tier(program, page)
            good, lost = program.check(1)
            expect(good * 4096 == MEMORY and not lost, f"{good} good pages, lost: {lost}")
            program.tell("fill 2")
            good, lost = program.check(2)
            expect(good * 4096 == MEMORY and not lost, f"written again: {good} good pages, lost: {lost}")
            program.end(7)
            expect_one_warning(program)
        expect(page.over_budget_bytes >= MEMORY - BUDGET - ROOM, f"over_budget_bytes {page.over_budget_bytes}")
        expect(page.read_errors == 0 and page.bad_pages == 0, "reads failed")


def is_freed(args, tiers, kind):
    with tiers.of(kind, 512 * MIB) as folder:
        ballast_file = ballast(folder, ROOM)
        page = JobPage(BUDGET)
        with under_library(args, page, folder) as program:
            fill_beyond_the_tier(program, page)
            os.unlink(ballast_file)
            wait_until(lambda: page.charged <= BUDGET, "the budget is not kept again after space was freed")
            good, lost = program.check(1)
            expect(good * 4096 == MEMORY and not lost, f"{good} good pages, lost: {lost}")
            errors = page.write_errors
            program.tell("fill 2")
            good, lost = program.check(2)
            expect(good * 4096 == MEMORY and not lost, f"written again: {good} good pages, lost: {lost}")
            expect(page.write_errors == errors, "writes fail though there is space")
            wait_until(lambda: page.charged <= BUDGET, "over the budget though there is space")
            program.end(0)
            expect_one_warning(program)


def main():
    args = arguments(__doc__)
    tiers = Tiers(args.slow)
    if not tiers.private:
        print("SKIPPED: a small file system has to be mounted, which takes root, mkfs.ext4 and a loop device")
        return SKIP
    return run_cases(on_both_tiers(args, tiers, stays_full, is_freed))


if __name__ == "__main__":
    sys.exit(main())
