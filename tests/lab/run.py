"""The lab: boots virtual machines with emulated persistent memory (ext4 with DAX), a NUMA node without CPUs and a disk,
on a current kernel and on one that is too old, and runs Ebbtide inside (inside.sh). See docs/lab.md.

    run.py [--build FOLDER] [--kernel old|current|newest]... [--all] [--limit SECONDS] [--refresh] [PROGRAM...]

Emulated without KVM, so that it runs anywhere: times inside mean nothing, behaviour does. Needs no privilege.
Exits with 0 if every test passed on every kernel, 1 if one failed or a machine did not come to an end, 2 if the
lab cannot run here.
"""
import argparse
import glob
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import kernels

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(REPO, "tests", "programs"))
import run_pair  # noqa: E402

# Quick ones of several kinds; --all runs every program.
PROGRAMS = ("map_free", "map_protect_cold", "fork_basic", "sys_read", "sys_direct_io", "sys_uring", "thread_barrier")
# Beside what ldd finds: what the runtime and the command load by name.
LOADED_BY_NAME = ("libmemkind.so.0", "libpmem2.so.1", "libnuma.so.1", "libgcc_s.so.1")
TOOLS = ("/usr/bin/ndctl", "/usr/bin/daxctl", "/sbin/mkfs.ext4", "/usr/bin/perl")
SLOWER = 10  # an emulated processor, at least
MIB = 1 << 20
MEMORY, PMEM, DISK = 2048 * MIB, 1024 * MIB, 1024 * MIB


class Files:
    """A folder that becomes the file system of a virtual machine."""

    def __init__(self, root):
        self.root = root

    def put(self, path, target, strip=False):
        """Copies a file of this machine, and the shared libraries that it needs, to their places."""
        place = self.root + target
        if os.path.exists(place):
            return
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if strip:
            kernels.output_of("strip", "--strip-debug", "-o", place, path)
        else:
            shutil.copy(path, place)
        found = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        if "not found" in found.stdout:
            raise kernels.Unavailable(f"{path} misses libraries:\n{found.stdout}")
        for library in re.findall(r"(/\S+) \(0x", found.stdout):  # a static program has none
            self.put(library, library)

    def write(self, path, text):
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)

    def pack(self, archive):
        names = subprocess.run(["find", ".", "-mindepth", "1"], cwd=self.root, stdout=subprocess.PIPE, check=True)
        with open(archive, "ab") as target:  # the kernel takes archives one after the other
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=self.root, input=names.stdout,
                           stdout=target, check=True)


def library_paths():
    lines = kernels.output_of("/sbin/ldconfig", "-p").splitlines()
    known = {words[0]: words[-1] for words in map(str.split, lines) if "(libc6,x86-64)" in " ".join(words)}
    return [known[name] for name in LOADED_BY_NAME if name in known]


def needs_paging(source):
    with open(source, encoding="utf-8") as file:
        return "cold" in run_pair.directives(source) or '#include "cold.h"' in file.read()


def plan(programs, sources, paged):
    lines = []
    for name in programs:
        directive = run_pair.directives(sources[name])
        if not paged and needs_paging(sources[name]):
            continue
        lines.append(" ".join([name, directive.get("dram") or "64M",
                               str(int(directive.get("timeout", 60)) * SLOWER), "cold" if "cold" in directive else "-",
                               *filter(None, directive.get("args", "").split(","))]))
    return "\n".join(lines) + "\n"


def make_files(root, build, programs):
    files = Files(root)
    for folder in ("bin", "sbin", "dev", "etc", "proc", "sys", "tmp", "root", "lab/programs", "mnt/pmem", "mnt/disk"):
        os.makedirs(f"{root}/{folder}")
    files.put("/bin/busybox", "/bin/busybox")
    files.put(f"{HERE}/inside.sh", "/init")
    os.chmod(f"{root}/init", 0o755)
    files.put(f"{HERE}/kind.pl", "/lab/kind.pl")
    files.put(f"{build}/bin/ebb", "/opt/ebbtide/bin/ebb", strip=True)
    files.put(f"{build}/lib/libebbtide.so", "/opt/ebbtide/lib/libebbtide.so", strip=True)
    for path in library_paths():
        files.put(path, path)
    for path in TOOLS:
        files.put(path, f"/sbin/{os.path.basename(path)}")
    for name in programs:
        files.put(f"{build}/tests/programs/{name}", f"/lab/programs/{name}", strip=True)
    return files


def sparse_file(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def qemu(kernel, initrd, folder):
    disk = sparse_file(f"{folder}/disk", DISK)
    # Without cx16: QEMU 7.2 miscomputes the flags of cmpxchg16b, and the kernel dies of it.
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-machine", "q35,nvdimm=on",
               "-smp", "2", "-m", f"{MEMORY // MIB}M,slots=4,maxmem=8G", "-nodefaults", "-display", "none",
               "-serial", "stdio", "-no-reboot", "-kernel", kernel.image, "-initrd", initrd,
               "-append", "console=ttyS0 loglevel=3 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1 rdinit=/init",
               "-object", f"memory-backend-ram,id=ram,size={MEMORY}", "-numa", "node,nodeid=0,cpus=0-1,memdev=ram",
               "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe,discard=unmap"]
    for number in (1, 2):  # inside.sh makes one a file system, the other a NUMA node
        path = sparse_file(f"{folder}/dimm{number}", PMEM)
        command += ["-numa", f"node,nodeid={number}",
                    "-object", f"memory-backend-file,id=dimm{number},mem-path={path},share=on,size={PMEM},align=128M",
                    "-device", f"nvdimm,id=nvdimm{number},memdev=dimm{number},node={number}"]
    return command


def console_lines(machine, deadline):
    """Lines of the serial console until the machine ends; None when the time is up."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0, deadline - time.monotonic())):
                yield None
                return
            data = os.read(machine.stdout.fileno(), 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")


def run_machine(name, kernel, initrd, folder, log_path, limit):
    """Runs one machine to its end; shows the tests as they end. True if all is well."""
    begin = time.monotonic()
    passed = failed = skipped = 0
    booted = ended = out_of_time = False
    with open(log_path, "w", encoding="utf-8") as log, \
            subprocess.Popen(qemu(kernel, initrd, folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT) as machine:
        try:
            for line in console_lines(machine, begin + limit):
                if line is None:
                    out_of_time = True
                    break
                log.write(line + "\n")
                log.flush()
                seconds = time.monotonic() - begin
                if line.startswith(("ok ", "not ok ", "# ")):
                    print(f"{name} {seconds:4.0f} s  {line}", flush=True)
                skipped += line.startswith("ok ") and "# SKIP" in line
                passed += line.startswith("ok ") and "# SKIP" not in line
                failed += line.startswith("not ok ")
                booted = booted or line.startswith("# booted")
                ended = ended or line == "lab: done"
        finally:
            machine.kill()
    seconds = time.monotonic() - begin
    if not ended:
        failed += 1
        why = f"was stopped after {limit} s" if out_of_time else "ended early"
        print(f"{name}: the machine {why}, {'in the tests' if booted else 'before it had booted'}; its last lines:")
        with open(log_path, encoding="utf-8") as log:
            print("".join("    " + line for line in log.readlines()[-25:]), end="")
    print(f"{name} ({kernel.release}): {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s; "
          f"console: {log_path}", flush=True)
    return failed == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(REPO, "build"), help="build folder (default: build)")
    parser.add_argument("--kernel", action="append", choices=kernels.SUITES, help="default: current and old")
    parser.add_argument("--all", action="store_true", help="every test program; takes an hour and more")
    parser.add_argument("--limit", type=int, help="seconds for each machine (default: 1800; --all: 14400)")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernels than those in the cache")
    parser.add_argument("program", nargs="*", help="test programs to run instead of the usual choice")
    args = parser.parse_args()
    sources = {os.path.basename(p).partition(".")[0]: p for p in sorted(glob.glob(f"{REPO}/tests/programs/*.c*"))}
    programs = args.program or (list(sources) if args.all else PROGRAMS)
    unknown = [name for name in programs if name not in sources]
    if unknown:
        parser.error(f"no such program in tests/programs: {' '.join(unknown)}")

    # As an exception, so that the machine ends and its files go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def say(text):
        print(f"lab: {text}", file=sys.stderr, flush=True)

    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ebbtide-lab")
    logs = os.path.join(args.build, "lab")
    os.makedirs(cache, exist_ok=True)
    os.makedirs(logs, exist_ok=True)
    good = True
    try:
        chosen = {name: kernels.fetch(name, cache, args.refresh, say) for name in args.kernel or ("current", "old")}
        with tempfile.TemporaryDirectory(prefix="ebbtide-lab-") as work:
            files = make_files(f"{work}/root", args.build, programs)
            files.pack(f"{work}/common")
            for name, kernel in chosen.items():
                own = Files(tempfile.mkdtemp(dir=work))
                os.makedirs(f"{own.root}/lab")
                os.chmod(own.root, 0o755)
                own.write("/lab/modules", "".join(f"{path}\n" for path in kernel.put_modules(own.root)))
                paged = name != "old"
                own.write("/lab/paged", "yes\n" if paged else "no\n")
                own.write("/lab/plan", plan(programs, sources, paged))
                shutil.copy(f"{work}/common", f"{own.root}.initrd")
                own.pack(f"{own.root}.initrd")
                say(f"booting Linux {kernel.release}")
                limit = args.limit or (14400 if args.all else 1800)
                good &= run_machine(name, kernel, f"{own.root}.initrd", work, f"{logs}/{name}.log", limit)
    except kernels.Unavailable as why:
        say(str(why))
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
