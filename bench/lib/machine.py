"""Machine state for the kernel-swap arm of demo and benches: a swap file and a memory cgroup (v1 or v2), both gone
again afterwards, whatever happens to us.

Each is made inside a context manager. Before anything is made, a guard process starts that waits for the end of its
standard input; it does the clean-up, and it is the only place that does. Leaving the context closes that pipe, and so
do an exception, Ctrl-C and kill -9.

    with swap_file("/disk", 8 << 30), memory_cgroup(2 << 30) as group:
        subprocess.run(group.wrap(["program"]))
        print(group.peak())

Needs root; `Unavailable` says what is missing. Swap is the machine's, not the cgroup's: a second user would get pages
of the first into its file, so one waits for the other, and `other_swap` tells of swap that is not ours.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time

KILL_WAIT_S = 60.0
SWAP_LOCK = "/run/lock/ebbtide-swap"


class Unavailable(Exception):
    """This arm cannot run here; the text says why."""


@contextlib.contextmanager
def memory_at_hand(mib):
    """With `mib` MiB that the host of this virtual machine has given, for whoever needs memory meanwhile: keeper.py."""
    keeper = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "keeper.py"), str(mib)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if keeper.stdout.readline() != b"kept\n":
            raise Unavailable(f"{mib} MiB could not be touched beforehand")
        yield
    finally:
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()


@contextlib.contextmanager
def _guarded(undo, path, keep_open=()):
    guard = subprocess.Popen([sys.executable, os.path.abspath(__file__), undo, path], stdin=subprocess.PIPE,
                             start_new_session=True, pass_fds=keep_open)
    try:
        yield
    finally:
        guard.stdin.close()
        if guard.wait() != 0:
            print(f"could not undo {undo} {path}: see the message above", file=sys.stderr)


def _run(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()}")


@contextlib.contextmanager
def _swap_lock():
    """Held by us and by the guard, who may outlive us."""
    fd = os.open(SWAP_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run under kernel swap to end", file=sys.stderr, flush=True)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def other_swap(ours):
    """Swap areas of the machine that are not `ours`: figures taken beside them are not of our disk alone."""
    with open("/proc/swaps", encoding="utf-8") as lines:
        return [line.split()[0] for line in list(lines)[1:] if line.split()[0] != ours]


@contextlib.contextmanager
def swap_file(folder, size):
    """Swap of `size` bytes on the disk of `folder`."""
    if os.geteuid() != 0:
        raise Unavailable("swap needs root")
    path = os.path.join(os.path.abspath(folder), f"ebbtide-swap-{os.getpid()}")
    with _swap_lock() as lock, _guarded("swap", path, (lock,)):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            raise Unavailable(f"no room for a swap file of {size >> 20} MiB in {folder}: {error.strerror}") from error
        finally:
            os.close(fd)
        _run("/sbin/mkswap", path)
        _run("/sbin/swapon", "--priority", "32767", path)
        yield path


def _own_cgroup(controller):
    """The path of our cgroup in the hierarchy of `controller` ("" is v2), from /proc/self/cgroup; None if not there."""
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):
                return path
    return None


def _mount_point(kind, option):
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            before, after = line.split(" - ")
            if after.split()[0] == kind and (not option or option in after.split()[2].split(",")):
                return before.split()[4]
    return None


def _has_memory(folder, file):
    with contextlib.suppress(OSError), open(os.path.join(folder, file), encoding="utf-8") as text:
        return "memory" in text.read().split()
    return False


class Cgroup:
    """A memory cgroup below ours (v1), or beside it (v2, where one with processes may not have limited children)."""

    FILES = {1: ("memory.limit_in_bytes", "memory.max_usage_in_bytes"), 2: ("memory.max", "memory.peak")}

    def __init__(self):
        v1, v2 = _mount_point("cgroup", "memory"), _mount_point("cgroup2", "")
        if v1 and (own := _own_cgroup("memory")):
            self.version, parent = 1, v1 + own
        elif v2 and (own := _own_cgroup("")) is not None:
            self.version, parent = 2, v2 + own
            while parent.rstrip("/") != v2 and not _has_memory(parent, "cgroup.subtree_control"):
                parent = os.path.dirname(parent.rstrip("/"))
            if not _has_memory(parent, "cgroup.subtree_control"):
                raise Unavailable(f"no memory controller for children of {parent}: "
                                  f"echo +memory > {parent.rstrip('/')}/cgroup.subtree_control")
        else:
            raise Unavailable("no memory cgroup is mounted")
        self.path = os.path.join(parent, f"ebbtide-{os.getpid()}")

    def create(self, limit):
        try:
            os.mkdir(self.path)
            with open(os.path.join(self.path, self.FILES[self.version][0]), "w", encoding="utf-8") as out:
                out.write(str(limit))
        except OSError as error:
            raise Unavailable(f"cannot make the memory cgroup {self.path}: {error.strerror}") from error

    def wrap(self, command):
        """The command, started inside the cgroup."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', os.path.join(self.path, "cgroup.procs"), *command]

    def peak(self):
        """Most bytes charged at once; None on v2 kernels before 5.19."""
        try:
            with open(os.path.join(self.path, self.FILES[self.version][1]), encoding="utf-8") as text:
                return int(text.read())
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def memory_cgroup(limit):
    if os.geteuid() != 0:
        raise Unavailable("a memory cgroup needs root")
    group = Cgroup()
    with _guarded("cgroup", group.path):
        group.create(limit)
        yield group


def _undo_swap(path):
    with open("/proc/swaps", encoding="utf-8") as lines:
        active = any(line.split()[0] == path for line in lines)
    if active:
        subprocess.run(["/sbin/swapoff", path], check=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _undo_cgroup(path):
    deadline = time.monotonic() + KILL_WAIT_S
    while os.path.isdir(path):
        try:
            os.rmdir(path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            with open(os.path.join(path, "cgroup.procs"), encoding="utf-8") as pids:
                for pid in pids.read().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)  # a killed process leaves its cgroup when the kernel has freed it; there is no event on v1


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    {"swap": _undo_swap, "cgroup": _undo_cgroup}[sys.argv[1]](sys.argv[2])
