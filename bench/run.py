#!/usr/bin/env python3
"""Runs the benches and prints the rows of a markdown table; everything measured goes to a JSON file as well.

    bench/run.py                     all of them (an hour or more)
    bench/run.py seq rmw --quick     some of them, small and few
    bench/run.py --list

Needs ./dev build (build/bin), and for the kernel-swap arm root, a memory cgroup and a disk with room. The machine should
be doing nothing else: the load before each figure is in its row. Nothing is left behind, whatever happens.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench", "lib"))

import figures  # noqa: E402
from overhead import Overhead  # noqa: E402
from pressure import Pressure  # noqa: E402
from returning import Returning  # noqa: E402

BUSY_LOAD = 0.7


def default_disk():
    # Not /tmp: it may be memory.
    return os.environ.get("EBB_BENCH_DISK", "/var/tmp")


def main():
    parser = argparse.ArgumentParser(description="benchmarks of Ebbtide", epilog=__doc__.split("\n\n")[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="BENCH", help="which benches (default: all)")
    parser.add_argument("--list", action="store_true", help="list them")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions: a test of the benches")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder")
    parser.add_argument("--disk", default=default_disk(), help="folder on the disk to use (default %(default)s)")
    parser.add_argument("--memory-tier", default="/dev/shm", help="folder in memory (default %(default)s)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run (default %(default)s)")
    parser.add_argument("--json", default="bench-results.json", help="file for the results (default %(default)s)")
    a = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    program = os.path.join(a.build, "bin", "bench_overcommit")
    pressure = Pressure(program, a.disk, a.memory_tier, a.quick, a.timeout)
    freezing = Returning(a.build, a.disk, a.memory_tier, a.quick)
    overhead = Overhead(a.build, ROOT, a.disk, a.quick)
    benches = {"fits": overhead.fits, "true": overhead.true, "malloc": overhead.malloc, "seq": pressure.seq,
               "rmw": pressure.rmw, "rand": pressure.rand, "hotcold": pressure.hotcold, "refault": pressure.refault,
               "own": pressure.own, "pause": freezing.pause, "cold": freezing.cold, "delta": freezing.delta,
               "delta-memory": freezing.delta_memory, "clones": freezing.clones, "rds": freezing.rds,
               "rds-gzip": freezing.rds_gzip, "resident": freezing.resident, "phase": freezing.phase,
               "phase-r": freezing.phase_r, "plain": freezing.plain, "stock": freezing.stock}
    if a.list:
        print("\n".join(benches))
        return 0
    unknown = [name for name in a.which if name not in benches]
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(benches)}")
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} is not there: ./dev build")
    if os.getloadavg()[0] > BUSY_LOAD:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}): the figures will be too", file=sys.stderr)

    if len(_read("/proc/swaps").splitlines()) > 1:
        print("swap is in use on this machine: it takes part in the kernel-swap arm", file=sys.stderr)

    start = time.monotonic()
    results = []
    print(figures.HEADER, flush=True)
    try:
        for name in a.which or benches:
            print(f"{name} ... ({time.monotonic() - start:.0f} s)", file=sys.stderr)
            load = os.getloadavg()[0]
            for figure in benches[name]():
                figure.load_before = load
                results.append({"bench": name, **figure.json()})
                print(figure.row(), flush=True)
            freezing.clear()
    finally:
        freezing.close()
        with open(a.json, "w", encoding="utf-8") as out:
            json.dump({"schema": "ebbtide.bench/1", "quick": a.quick, "processors": os.cpu_count(),
                       "kernel": platform.release(), "page_cluster": _read("/proc/sys/vm/page-cluster"),
                       "transparent_hugepages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
                       "figures": results}, out, indent=1)
    missing = sum(1 for r in results if r["met"] is None)
    missed = sum(1 for r in results if r["met"] is False)
    print(f"{len(results)} figures, {missed} short of their goal, {missing} incomplete; all of it in {a.json}",
          file=sys.stderr)
    return 0


def _read(path):
    try:
        with open(path, encoding="utf-8") as text:
            return text.read().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
