"""A program that is told what to do (teller.c), under the real library, with the job's page at hand; and the tiers to break.

Nothing here sleeps where an answer can be awaited; what only the control page tells is polled with a deadline.
"""
import argparse
import contextlib
import ctypes
import functools
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
from job_page import JobPage, parse_size  # noqa: E402
from run_pair import OURS, where_it_hangs  # noqa: E402

SKIP = 77
MIB = 1 << 20
PAGE = 4096
PATIENCE = 30  # seconds for one answer; only a hang takes so long


class Failed(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failed(text)


def wait_until(condition, text, seconds=PATIENCE):
    """For what no event tells. `text` says what did not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {text}")
        time.sleep(0.01)


def state(stat):
    """The state of a thread, from its /proc/.../stat."""
    with open(stat, encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


class Told:
    """One program. Use as a context manager: whatever happens, its process group is gone afterwards."""

    def __init__(self, command, environment):
        self.errors = tempfile.TemporaryFile()
        self.child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.errors, start_new_session=True)
        self.pid = self.child.pid  # of the program itself, set anew when there is something before it
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def send(self, order):
        self.child.stdin.write(order.encode() + b"\n")
        self.child.stdin.flush()

    def tell(self, order):
        """Gives an order and waits for the answer."""
        self.send(order)
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(end - time.monotonic()):
                    raise Failed(f"no answer to '{order}' within {PATIENCE} s:\n{where_it_hangs(self.child.pid)}")
                data = os.read(self.child.stdout.fileno(), 1 << 16)
                if not data:
                    raise Failed(f"the program ended at '{order}' with {self.wait()}:\n{self.said()}")
                self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def check(self, seed):
        """(number of good pages, set of lost pages); a page with a wrong byte fails."""
        answer = self.tell(f"check {seed}")
        match = re.fullmatch(r"good (\d+) lost (\S+) wrong (\S+)", answer)
        expect(match, f"what is '{answer}'?")
        expect(match[3] == "-", f"pages with wrong bytes: {match[3][:300]}")
        return int(match[1]), set() if match[2] == "-" else set(map(int, match[2].split(",")))

    def wait(self):
        """The exit code, as a shell has it."""
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running:\n{where_it_hangs(self.child.pid)}") from None
        return code if code >= 0 else 128 - code

    def end(self, code):
        self.send(f"end {code}")
        got = self.wait()
        expect(got == code, f"exit code {got} instead of {code}:\n{self.said()}")

    def said(self):
        """What is on stderr by now."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def stop(self):
        """Stops all of it, its pager too."""
        os.kill(self.pid, signal.SIGSTOP)
        for task in os.listdir(f"/proc/{self.pid}/task"):
            wait_until(lambda path=f"/proc/{self.pid}/task/{task}/stat": state(path) == "T", f"thread {task} does not stop")

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def store_files(self, folder):
        """(descriptor, path that opens it) of the unlinked files of this program on the tier."""
        found = []
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            path = f"/proc/{self.pid}/fd/{number}"
            with contextlib.suppress(OSError):
                link = os.readlink(path)
                if link.startswith(folder + "/") and link.endswith(" (deleted)"):
                    found.append((int(number), path))
        return found


def under_library(args, page, folder, verbose="1"):
    return Told([args.program], page.environment(args.library, f"file:{folder}", verbose))


def bare_environment():
    return {k: v for k, v in os.environ.items() if k not in OURS}


def ballast(folder, leave):
    """Fills the file system of `folder` with a file until only `leave` bytes are free."""
    path = os.path.join(folder, "ballast")
    with open(path, "wb") as file:
        fs = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, fs.f_bavail * fs.f_frsize - leave)
    return path


class Tiers:
    """Folders for the slow tier. With root they are file systems of their own, in a mount namespace of our own, so that
    nothing of them is left however we end."""

    def __init__(self, slow):
        os.makedirs(slow, exist_ok=True)
        self.slow = os.path.abspath(slow)
        self.private = os.geteuid() == 0 and self._own_namespace() and self._can_mount()

    @staticmethod
    def _own_namespace():
        libc = ctypes.CDLL(None, use_errno=True)
        new_mounts, private_all = 0x20000, (1 << 14) | (1 << 18)  # CLONE_NEWNS; MS_REC | MS_PRIVATE
        return libc.unshare(new_mounts) == 0 and libc.mount(b"none", b"/", None, private_all, None) == 0

    def _can_mount(self):
        """A container's root may not, or have no loop device."""
        folder = tempfile.mkdtemp(prefix="ebb-fault-", dir=self.slow)
        try:
            self._mount("file", 16 * MIB, folder)
            subprocess.run(["umount", "-l", folder], check=True)
            return True
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no file systems of our own, for {error}")
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def of(self, kind, size=1024 * MIB):
        """A folder on a tier of this kind, `file` or `tmpfs`; of this size if `private`."""
        base = "/dev/shm" if kind == "tmpfs" and not self.private else self.slow
        folder = tempfile.mkdtemp(prefix="ebb-fault-", dir=base)
        mounted = False
        try:
            if self.private:
                self._mount(kind, size, folder)
                mounted = True
            yield folder
            expect(os.listdir(folder) in ([], ["lost+found"]), f"left on the tier: {os.listdir(folder)}")
        finally:
            if mounted:
                subprocess.run(["umount", "-l", folder], check=True)
            shutil.rmtree(folder, ignore_errors=True)

    def _mount(self, kind, size, folder):
        if kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
            return
        with tempfile.NamedTemporaryFile(dir=self.slow, prefix="ebb-fault-image-") as image:
            image.truncate(size)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image.name], check=True)
            subprocess.run(["mount", "-o", "loop,noatime", image.name, folder], check=True)


def arguments(text, *more):
    """What every driver is called with; `text` is its docstring, `more` options that it needs besides."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    for option in ("--library", "--slow", *more):
        parser.add_argument(option, required=True)
    parser.add_argument("program")
    return parser.parse_args()


def on_both_tiers(args, tiers, *cases):
    """[(name, function)] for run_cases, of functions of (args, tiers, kind)."""
    return [(f"{case.__name__}, {kind}", functools.partial(case, args, tiers, kind))
            for case in cases for kind in ("file", "tmpfs")]


def run_cases(cases):
    """Runs each (name, function), prints what came of it; the exit code. A function may return why it was skipped."""
    failed = skipped = 0
    for name, case in cases:
        begin = time.monotonic()
        reason = None
        try:
            reason = case()
            word = f"SKIPPED: {reason}" if reason else "ok"
        except (Failed, OSError, subprocess.SubprocessError) as error:
            failed += 1
            word = f"FAILED: {error}"
        skipped += bool(reason)
        print(f"{name}: {word} ({time.monotonic() - begin:.1f} s)", flush=True)
    if failed:
        return 1
    return SKIP if skipped == len(cases) else 0


__all__ = ["Failed", "JobPage", "MIB", "PAGE", "SKIP", "Told", "Tiers", "arguments", "ballast", "bare_environment",
           "expect", "on_both_tiers", "parse_size", "run_cases", "under_library", "wait_until"]
