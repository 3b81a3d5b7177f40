"""Benches of a program that does not fit: sequential, read-modify-write, random, hot set beside a scan, refault latency and
the runtime's own memory; Ebbtide against kernel swap and, where the goal says so, the device itself.

The program is build/bin/bench_overcommit; both arms get the same number of bytes of DRAM, the same disk, the same size.
"""

import json
import os
import statistics
import subprocess
import tempfile

import arms
import machine
from figures import Figure, unavailable

MIB = 1 << 20


class Pressure:
    def __init__(self, program, disk, memory_tier, quick, timeout):
        self.program, self.disk, self.memory_tier, self.timeout = program, disk, memory_tier, timeout
        self.dram_mib = 512 if quick else 2048
        self.passes = 2 if quick else 3
        self.seconds = 3 if quick else 15
        self.rounds = 1 if quick else 3  # where one run differs from the next
        self._device = None

    # --- arms ---------------------------------------------------------------------------------------------------------
    def _command(self, mode, mib, *options):
        return [self.program, mode, "--mib", str(mib), *map(str, options)]

    def _run(self, arm, command, slow=None):
        """(JSON lines of the program, result of the arm); raises Unavailable when it did not end well."""
        with tempfile.NamedTemporaryFile(mode="r", prefix="ebb-bench-") as log, machine.memory_at_hand(3 * self.dram_mib):
            common = {"timeout": self.timeout, "log": log.name}
            if arm == "ebb":
                result = arms.run_ebb(command, self.dram_mib * MIB, slow or f"file:{self.disk}", **common)
            elif arm == "swap":
                result = arms.run_swap(command, self.dram_mib * MIB, self.disk, 4 * self.dram_mib * MIB, **common)
            else:
                result = arms.run_bare(command, **common)
            text = log.read()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        if result["timed_out"]:
            raise machine.Unavailable(f"{arm}: not done after {self.timeout} s; so far {lines[-1] if lines else 'nothing'}")
        if result["exit_code"] != 0 or not all(line.get("ok", True) for line in lines):
            raise machine.Unavailable(f"{arm}: exit code {result['exit_code']}, {text[-300:]!r}")
        return lines, result

    def _both(self, name, command, take, unit, goal, ratio, met, extra=None, rounds=1):
        """One figure from the same command under Ebbtide and under kernel swap, in turn; the median of the rounds."""
        shown = self._shown(command)
        figure = Figure(name, shown, {}, unit, goal=goal)
        taken = {"ebb": [], "swap": []}
        for arm in rounds * ("ebb", "swap"):
            try:
                lines, result = self._run(arm, command)
            except machine.Unavailable as reason:
                figure.note += f"{reason}; "
                continue
            taken[arm].append(take(lines))
            figure.raw.setdefault(arm, []).append({"lines": lines, "result": result})
        for arm, values in taken.items():
            if values:
                figure.values[arm] = statistics.median(values)
            if len(values) > 1:
                figure.note += f"{arm} {min(values):,.4g} to {max(values):,.4g} in {len(values)} runs; "
        figure.values.update(extra or {})
        if {"ebb", "swap"} <= figure.values.keys():
            figure.ratio = ratio(figure.values)
            figure.met = met(figure.values)
        return figure

    def _shown(self, command):
        return f"--dram {self.dram_mib}M -- {os.path.basename(command[0])} {' '.join(command[1:])}"

    # --- the device ---------------------------------------------------------------------------------------------------
    def device(self):
        """Sequential read of the disk itself in GB/s: fio, 1 MiB, O_DIRECT, depth 8, the median of three."""
        if self._device is None:
            path = os.path.join(self.disk, f"ebb-bench-fio-{os.getpid()}")
            command = ["fio", "--name=seq", f"--filename={path}", f"--size={2 * self.dram_mib}M", "--bs=1M", "--direct=1",
                       "--ioengine=io_uring", "--iodepth=8", "--output-format=json"]
            try:
                rates = []
                for pattern in ("write", "read", "read", "read"):
                    done = subprocess.run([*command, f"--rw={pattern}"], capture_output=True, text=True, check=True)
                    rates.append(json.loads(done.stdout)["jobs"][0][pattern]["bw_bytes"] / 1e9)
            except (OSError, subprocess.CalledProcessError) as error:
                raise machine.Unavailable(f"fio: {error}") from error
            finally:
                if os.path.exists(path):
                    os.unlink(path)
            self._device = statistics.median(rates[1:])
        return self._device

    # --- figures ------------------------------------------------------------------------------------------------------
    def _passes(self, mode):
        def take(lines):
            rates = [line["gb_per_s"] for line in lines if line["phase"] == mode]
            return statistics.median(rates[1:] or rates)  # the first pass still finds what the fill left
        return take

    def seq(self):
        command = self._command("seqread", 2 * self.dram_mib, "--passes", self.passes)
        try:
            extra = {"fio": self.device()}
        except machine.Unavailable as reason:
            extra = {}
            yield unavailable("device, sequential", "fio", reason)
        figure = self._both("sequential read passes over 2x DRAM", command, self._passes("seqread"), "GB/s",
                            "5x kernel swap and 0.85 of the device", lambda v: v["ebb"] / v["swap"],
                            lambda v: v["ebb"] >= 5 * v["swap"] and v["ebb"] >= 0.85 * v.get("fio", float("inf")), extra)
        if "ebb" in figure.values and extra:
            figure.note += f"{figure.values['ebb'] / extra['fio']:.2f} of the device"
        yield figure

    def rmw(self):
        command = self._command("rmw", 2 * self.dram_mib, "--passes", self.passes)
        yield self._both("read-modify-write passes over 2x DRAM", command, self._passes("rmw"), "GB/s", "4x kernel swap",
                         lambda v: v["ebb"] / v["swap"], lambda v: v["ebb"] >= 4 * v["swap"])

    def rand(self):
        for threads in (1, 2):
            command = self._command("rand4k", 2 * self.dram_mib, "--threads", threads, "--seconds", self.seconds,
                                    "--settle", self.seconds / 3)
            yield self._both(f"random reads over 2x DRAM, {threads} thread{'s' * (threads > 1)}", command,
                             lambda lines: lines[-1]["ops_per_s"], "reads/s", "not slower than kernel swap",
                             lambda v: v["ebb"] / v["swap"], lambda v: v["ebb"] >= v["swap"], rounds=self.rounds)

    def hotcold(self):
        hot = self.dram_mib * 2 // 5
        command = self._command("hotcold", hot + 2 * self.dram_mib, "--hot", hot, "--seconds", self.seconds,
                                "--settle", self.seconds / 3)
        yield self._both("hot set of 40 % beside a cold scan: accesses with the scan off over on", command,
                         lambda lines: lines[-1]["slowdown"], "x", "at most 1.10", lambda v: v["ebb"],
                         lambda v: v["ebb"] <= 1.10, rounds=self.rounds)

    def refault(self):
        # What is evicted for the first time is written, to memory that the tier has to get first: after some passes all is.
        command = self._command("refault", self.dram_mib * 2, "--seconds", self.seconds, "--passes", 8)
        shown = f"--slow file:{self.memory_tier} {self._shown(command)}"
        try:
            lines, result = self._run("ebb", command, f"file:{self.memory_tier}")
        except machine.Unavailable as reason:
            yield unavailable("refault from a memory-speed tier", shown, reason)
            return
        raw = {"lines": lines, "result": result}
        at_random = next(line for line in lines if line["phase"] == "refault_random")
        yield Figure("random page back from a memory-speed tier", shown,
                     {"p50": at_random["p50_us"], "p99": at_random["p99_us"]}, "us", at_random["p50_us"], "p50 at most 6 us",
                     at_random["p50_us"] <= 6, raw=raw)
        rates = [line["us_per_page"] for line in lines if line["phase"] == "refault_sequence"]
        yield Figure("pages back in sequence from a memory-speed tier", shown, {"mean": rates[-1]}, "us/page", rates[-1],
                     "at most 1.25 us", rates[-1] <= 1.25, raw=raw)

    def own(self):
        command = self._command("seqread", 2 * self.dram_mib, "--passes", 1)
        try:
            _, result = self._run("ebb", command)
            job = result["report"]["job"]
        except (machine.Unavailable, KeyError) as reason:
            yield unavailable("own memory", self._shown(command), reason)
            return
        allowed = 0.003 * job["peak_managed_bytes"] + 16 * MIB
        yield Figure("own memory", self._shown(command),
                     {"own": job["peak_own_bytes"] / MIB, "managed": job["peak_managed_bytes"] / MIB}, "MiB",
                     job["peak_own_bytes"] / allowed, "at most 0.3 % of managed + 16 MiB",
                     job["peak_own_bytes"] <= allowed, raw={"result": result})
