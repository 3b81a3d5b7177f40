"""Runs a program under the library and watches the job from outside every 50 ms: never more than the budget + 32 MiB.

Two figures are held against the budget: what the control page says is charged, and the anonymous memory that the kernel
counts for the job's processes (Pss_Anon, so that pages shared after a fork count once) less what the runtime itself uses
and less --unmanaged, the program's other memory.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from job_page import JobPage, parse_size

ALLOWANCE = 32 << 20
PERIOD = 0.05


def anonymous(pid):
    """Bytes of anonymous memory of a process; 0 for one that is gone or has been replaced by exec since."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss_Anon:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


class Sampler:
    def __init__(self, page, unmanaged):
        self.page, self.unmanaged = page, unmanaged
        self.samples, self.peak_charged, self.peak_resident = 0, 0, 0

    def sample(self):
        slots = list(self.page.slots())
        self.peak_charged = max(self.peak_charged, self.page.charged)
        resident = sum(max(0, anonymous(pid) - own - self.unmanaged) for pid, _, _, _, own in slots)
        self.peak_resident = max(self.peak_resident, resident)
        self.samples += 1

    def verdict(self):
        limit = self.page.budget + ALLOWANCE
        return [f"{what} reached {peak >> 20} MiB, budget + 32 MiB is {limit >> 20} MiB"
                for what, peak in (("charged memory", self.peak_charged), ("resident memory", self.peak_resident))
                if peak > limit]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True)
    parser.add_argument("--slow", required=True)
    parser.add_argument("--dram", default="64M")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--unmanaged", default="2M", help="for each process")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    os.makedirs(args.slow, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="ebb-budget-", dir=args.slow)
    page = JobPage(parse_size(args.dram))
    sampler = Sampler(page, parse_size(args.unmanaged))
    child = subprocess.Popen(args.command, stdout=subprocess.DEVNULL, start_new_session=True,
                             env=page.environment(os.path.abspath(args.library), f"file:{folder}"))
    end = time.monotonic() + args.timeout
    while child.poll() is None and time.monotonic() < end:
        sampler.sample()
        time.sleep(PERIOD)
    wrong = sampler.verdict()
    if child.poll() is None:
        wrong.append(f"still running after {args.timeout:.0f} s")
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    elif child.returncode:
        wrong.append(f"exit code {child.returncode}")
    if page.evicted_bytes == 0:
        wrong.append("nothing was evicted, so nothing was tested")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{sampler.samples} samples: charged at most {sampler.peak_charged >> 20} MiB, resident at most "
          f"{sampler.peak_resident >> 20} MiB; {page.summary()}")
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
