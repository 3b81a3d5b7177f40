"""Keeps memory that the host of a virtual machine has given, and lets go of it as fast as others use memory.

    keeper.py MIB        prints a line once it has touched all of it; ends with its standard input

A host that takes free memory back gives it again at a fraction of the speed of memory. What is freed this moment is
handed out first, so whoever is measured beside the keeper gets memory as on a machine of its own.
"""

import mmap
import os
import select
import sys

MIB = 1 << 20
STEP = 64 * MIB       # let go at a time
AHEAD = 512 * MIB     # so much more is free than when everything was kept
EVERY_MS = 5


def free_bytes():
    with open("/proc/meminfo", encoding="ascii") as text:
        return next(int(line.split()[1]) << 10 for line in text if line.startswith("MemFree:"))


def main():
    size = int(sys.argv[1]) * MIB // STEP * STEP
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    page = b"\1" * MIB
    for at in range(0, size, MIB):
        memory[at:at + MIB] = page
    wanted = free_bytes() + AHEAD
    print("kept", flush=True)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    gone = 0
    while True:
        while gone < size and free_bytes() < wanted:
            memory.madvise(mmap.MADV_DONTNEED, gone, STEP)
            gone += STEP
        if poll.poll(EVERY_MS) and not os.read(0, 1):
            return


main()
