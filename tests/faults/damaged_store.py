"""A store that is damaged while the program stands still: SIGBUS exactly where a page is lost, every other page right, and a
report that says which. Bits flipped, pages swapped, the file cut short; with a handler, without one, and in a system call.

    damaged_store.py --library LIB --ebb EBB --slow FOLDER PROGRAM
"""
import contextlib
import errno
import json
import mmap
import os
import random
import re
import struct
import sys
import tempfile

from told import MIB, PAGE, JobPage, Told, Tiers, arguments, bare_environment, expect, on_both_tiers, run_cases, under_library

BUDGET, MEMORY = 32 * MIB, 96 * MIB
SEED = 1
TAG = 0x5A5E << 48 | SEED << 32
LOST = re.compile(r"page (0x[0-9a-f]+) is lost: the store file \(descriptor (\d+)\) at offset (\d+)")
MOST_LINES = 100  # kMaxLines of runtime/base/log.h


def present_pages(pid, at, pages):
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        entries = os.pread(pagemap.fileno(), 8 * pages, at // PAGE * 8)
    return {i for i, (entry,) in enumerate(struct.iter_unpack("<Q", entries)) if entry >> 63}


class Stored:
    """The program's pages in its store files: page -> (descriptor, path, offset), of those that are out of DRAM. Meant for a
    program that is stopped: the pager must not go on meanwhile."""

    def __init__(self, program, folder, at):
        self.of = {}
        present = present_pages(program.pid, at, MEMORY // PAGE)
        for number, path in program.store_files(folder):
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
                for offset in range(0, len(content) - PAGE + 1, PAGE):
                    page = struct.unpack_from("<Q", content, offset)[0] - TAG
                    if 0 <= page < MEMORY // PAGE and page not in present:
                        expect(page not in self.of, f"page {page} is in the store twice")
                        self.of[page] = (number, path, offset)
        expect(len(self.of) * PAGE > BUDGET, f"only {len(self.of)} pages are in the store")

    def read(self, page):
        _, path, offset = self.of[page]
        with open(path, "rb") as file:
            return os.pread(file.fileno(), PAGE, offset)

    def write(self, page, content, within=0):
        _, path, offset = self.of[page]
        with open(path, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), content, offset + within)
            os.fsync(file.fileno())


def flip(stored, pages, choice):
    for page in pages:
        at = choice.randrange(PAGE)
        stored.write(page, bytes([stored.read(page)[at] ^ 1 << choice.randrange(8)]), at)


def filled(program):
    at = int(program.tell(f"map {MEMORY // MIB}").split()[1], 16)
    program.tell(f"fill {SEED}")
    return at


def expect_lost(program, page, stored, at, damaged):
    """Goes on and reads everything: the damaged pages are lost, each is reported, the others are right."""
    program.go_on()
    good, lost = program.check(SEED)
    expect(lost == damaged, f"lost but not damaged: {sorted(lost - damaged)[:20]}, damaged but not lost: "
                            f"{sorted(damaged - lost)[:20]}")
    expect(good == MEMORY // PAGE - len(damaged), f"{good} good pages")
    expect(page.bad_pages == len(damaged), f"bad_pages {page.bad_pages} instead of {len(damaged)}")
    named = [(int(a, 16), int(fd), int(offset)) for a, fd, offset in LOST.findall(program.said())]
    expect(len(named) == min(len(damaged), MOST_LINES), f"{len(named)} lines about {len(damaged)} pages:\n{program.said()}")
    for address, fd, offset in named:
        place = stored.of.get((address - at) // PAGE)
        expect(place and (place[0], place[2]) == (fd, offset), f"{address:#x} is not at descriptor {fd}, offset {offset}")
    # Lost is lost: the same again, and nothing is counted twice.
    expect(program.check(SEED) == (good, lost), "another answer the second time")
    expect(page.bad_pages == len(damaged), "pages are counted again")
    program.end(0)


@contextlib.contextmanager
def standing_still(args, tiers, kind):
    """(program, its job's page, where its memory is, what is stored), the program filled, with a handler, and stopped."""
    with tiers.of(kind) as folder:
        page = JobPage(BUDGET)
        with under_library(args, page, folder) as program:
            at = filled(program)
            program.tell("handler")
            program.stop()
            yield program, page, at, Stored(program, folder, at)


def flipped_bits(args, tiers, kind):
    choice = random.Random(1)
    with standing_still(args, tiers, kind) as (program, page, at, stored):
        damaged = set(choice.sample(sorted(stored.of), 60))
        flip(stored, damaged, choice)
        expect_lost(program, page, stored, at, damaged)
    expect(page.read_errors == 0, f"read_errors {page.read_errors}: all reads worked")


def swapped_pages(args, tiers, kind):
    choice = random.Random(2)
    with standing_still(args, tiers, kind) as (program, page, at, stored):
        pages = choice.sample(sorted(stored.of), 40)
        for one, other in zip(pages[::2], pages[1::2]):
            a, b = stored.read(one), stored.read(other)
            stored.write(one, b)
            stored.write(other, a)
        expect_lost(program, page, stored, at, set(pages))


def cut_short(args, tiers, kind):
    """What is beyond the file's end is lost, and nothing else."""
    with standing_still(args, tiers, kind) as (program, page, at, stored):
        sizes = {path: os.stat(path).st_size // 2 // PAGE * PAGE for _, path, _ in stored.of.values()}
        damaged = {number for number, (_, path, offset) in stored.of.items() if offset >= sizes[path]}
        for path, size in sizes.items():
            os.truncate(path, size)
        expect(damaged, "nothing was cut off")
        expect_lost(program, page, stored, at, damaged)


def in_a_system_call(args, tiers, kind):
    with tiers.of(kind) as folder:
        page = JobPage(BUDGET)
        with under_library(args, page, folder) as program:
            at = filled(program)
            program.stop()
            stored = Stored(program, folder, at)
            broken, whole = random.Random(3).sample(sorted(stored.of), 2)
            flip(stored, {broken}, random.Random(3))
            program.go_on()
            expect(int(program.tell(f"write {whole}")) == PAGE, "a good page cannot be written")
            answer = int(program.tell(f"write {broken}"))
            expect(answer == -errno.EFAULT, f"write(2) of a lost page gives {answer} instead of EFAULT")
            expect(page.bad_pages == 1, f"bad_pages {page.bad_pages}")
            program.end(0)


def without_a_handler(args, tiers, kind):
    """Under `ebb run`: killed by SIGBUS, exit code 128 + 7, and the summary and the report count the page."""
    with tiers.of(kind) as folder, tempfile.TemporaryDirectory(dir=tiers.slow) as work:
        report = os.path.join(work, "report.json")
        command = [args.ebb, "run", "--dram", f"{BUDGET // MIB}M", "--slow", f"file:{folder}", "--report", report, "--",
                   args.program]
        with Told(command, bare_environment()) as program:
            with open(f"/proc/{program.child.pid}/task/{program.child.pid}/children", encoding="ascii") as children:
                at = filled(program)
                program.pid = int(children.read().split()[0])
            program.stop()
            stored = Stored(program, folder, at)
            flip(stored, {sorted(stored.of)[100]}, random.Random(4))
            program.go_on()
            program.send(f"check {SEED}")
            code = program.wait()
            expect(code == 128 + 7, f"exit code {code} instead of {128 + 7}:\n{program.said()}")
            expect(LOST.search(program.said()), f"nothing is said about the lost page:\n{program.said()}")
            with open(report, encoding="utf-8") as file:
                job = json.load(file)["job"]
            expect(job["damaged_pages"] == 1, f"damaged_pages {job['damaged_pages']}")


def main():
    args = arguments(__doc__, "--ebb")
    tiers = Tiers(args.slow)
    cases = on_both_tiers(args, tiers, flipped_bits, swapped_pages, cut_short, in_a_system_call, without_a_handler)
    return run_cases(cases)


if __name__ == "__main__":
    sys.exit(main())
