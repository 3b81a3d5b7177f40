"""The control page of a job as seen from outside: made by a test, handed to the program as EBB_JOB, read afterwards.

Mirrors struct JobControl of runtime/job/control.h; attach() there refuses a page of another version or size, and the
test then fails since nothing was evicted.
"""
import mmap
import os
import re
import struct

MAGIC = 0x31304C5254434245
VERSION = 7
HEAD = ["budget", "charged", "peak_charged", "managed", "peak_managed", "stored", "peak_need", "peak_own_bytes",
        "pressure", "store_bytes", "peak_store_bytes"]
COUNTERS = ["evicted_bytes", "written_bytes", "cleaned_bytes", "loaded_bytes", "returned_bytes", "zero_bytes", "faults", "stall_ns",
            "pager_cpu_ns", "read_errors", "write_errors", "bad_pages", "over_budget_bytes", "processes",
            "paged_processes"]
SLOTS, MESSAGES, MESSAGE_BYTES, SLOT_BYTES = 256, 8, 256, 64
MESSAGES_AT = 16 + 8 * (len(HEAD) + len(COUNTERS))
SLOTS_AT = (MESSAGES_AT + 4 + MESSAGES * MESSAGE_BYTES + 63) // 64 * 64
CLEAN_AHEAD_AT = SLOTS_AT + SLOTS * SLOT_BYTES + 48 + 1024 + SLOTS * 56 + 8
SIZE = (CLEAN_AHEAD_AT + 8 + 63) // 64 * 64


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMG])", text)
    if not match:
        raise SystemExit(f"'{text}' is no size: say 64M")
    return int(match[1]) << {"K": 10, "M": 20, "G": 30}[match[2]]


class JobPage:
    def __init__(self, budget, clean_ahead=False):
        self.fd = os.memfd_create("ebbtide-test-job")
        os.ftruncate(self.fd, SIZE)
        self.map = mmap.mmap(self.fd, SIZE)
        struct.pack_into("<QIIQ", self.map, 0, MAGIC, VERSION, SIZE, budget)
        struct.pack_into("<Q", self.map, CLEAN_AHEAD_AT, clean_ahead)
        self.budget = budget

    @classmethod
    def of_run(cls, pid):
        """The page of the job that the `ebb run` with this PID started."""
        for fd in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{fd}"
            if os.readlink(path).startswith("/memfd:ebbtide-job"):
                page = cls.__new__(cls)
                page.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                page.map = mmap.mmap(page.fd, SIZE, prot=mmap.PROT_READ)
                return page
        raise FileNotFoundError(f"process {pid} has no job page")

    def close(self):
        self.map.close()
        os.close(self.fd)

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def __getattr__(self, name):
        if name in HEAD:
            return struct.unpack_from("<Q", self.map, 16 + 8 * HEAD.index(name))[0]
        if name in COUNTERS:
            return struct.unpack_from("<Q", self.map, 16 + 8 * (len(HEAD) + COUNTERS.index(name)))[0]
        raise AttributeError(name)

    def slots(self):
        """(pid, charged, managed, stored, own bytes) of each process that holds a slot."""
        for i in range(SLOTS):
            pid, _, charged, managed, stored, own = struct.unpack_from("<iIQQQQ", self.map, SLOTS_AT + i * SLOT_BYTES)
            if pid:
                yield pid, charged, managed, stored, own

    def environment(self, library, slow, verbose="1"):
        """What the program is started with. Another preload of the caller's stays behind ours."""
        env = dict(os.environ)
        env["LD_PRELOAD"] = " ".join(filter(None, [library, env.get("LD_PRELOAD", "")]))
        env.update(EBB_DRAM=f"{self.budget >> 20}M", EBB_SLOW=slow, EBB_JOB=self.path, EBB_VERBOSE=verbose)
        return env

    def summary(self):
        mib = lambda n: f"{n / (1 << 20):.0f}M"
        return (f"peak charged {mib(self.peak_charged)} of {mib(self.budget)}, need {mib(self.peak_need)}, evicted "
                f"{mib(self.evicted_bytes)}, cleaned {mib(self.cleaned_bytes)}, loaded {mib(self.loaded_bytes)}, returned {mib(self.returned_bytes)}, "
                f"stall {self.stall_ns / 1e9:.2f}s, {self.processes} processes")
