"""Snapshots from inside a Python program: docs/inside.md of Ebbtide.

    import ebb
    if ebb.snapshot("after-load") == "restored": ...

Nothing but the standard library is needed. The work is done by libebbtide.so, which `ebb run` loads into the program.
"""
import ctypes
import os
import random
import shutil
import sys
import tempfile
import threading

__all__ = ["Result", "SnapshotError", "after_restore", "after_snapshot", "arguments", "available", "before_snapshot",
           "snapshot"]

_REPLACE, _PERSISTED = 1, 2
_ERROR, _RESTORED = -1, 1
_LIBRARY = "libebbtide.so"
_PLACES = ("lib", "lib/ebbtide", "lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu/ebbtide", "lib64", "lib64/ebbtide")


class SnapshotError(RuntimeError):
    """There is no snapshot, and the program goes on. The text says what to do."""


class Result(str):
    """"running" in the original, "restored" in what was made of the snapshot; `arguments` is what `ebb clone --arg` gave."""

    def __new__(cls, text, given):
        result = super().__new__(cls, text)
        result.arguments = given
        return result


def _candidates():
    """Where the library is when it was not preloaded: beside the installation of this module, or of the command."""
    prefixes = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 3)]
    command = shutil.which("ebb")
    if command:
        prefixes.append(os.path.join(os.path.dirname(os.path.realpath(command)), ".."))
    return [os.path.join(prefix, place, _LIBRARY) for prefix in prefixes for place in _PLACES]


def _find():
    library = ctypes.CDLL(None)
    if not hasattr(library, "ebb_snapshot"):
        # Loaded this late it must stay passive, and does so without a budget.
        path = None if "EBB_DRAM" in os.environ else next(filter(os.path.exists, _candidates()), None)
        try:
            library = path and ctypes.CDLL(path)
        except OSError:
            library = None
    if library:
        library.ebb_snapshot.argtypes = [ctypes.c_char_p, ctypes.c_uint]
        library.ebb_argument.argtypes = [ctypes.c_char_p]
        library.ebb_argument_name.argtypes = [ctypes.c_uint]
        for function in (library.ebb_argument, library.ebb_argument_name, library.ebb_last_error):
            function.restype = ctypes.c_char_p
    return library


_library = _find()
_before, _after, _restored = [], [], []
_turn = threading.Lock()


def _new_turn():
    global _turn
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_new_turn)  # a thread that is not there may have held it


def available():
    """Whether snapshot() can work: the program runs under `ebb run`, or Ebbtide's library was found."""
    return bool(_library)


def arguments():
    """What `ebb clone --arg NAME=VALUE` gave, as a dictionary; empty in what is no clone."""
    out = {}
    while _library:
        name = _library.ebb_argument_name(len(out))
        if name is None:
            break
        out[os.fsdecode(name)] = os.fsdecode(_library.ebb_argument(name) or b"")
    return out


def before_snapshot(function):
    """Has snapshot() call `function` first, the last registered one first. Returns it, so that it can decorate."""
    _before.append(function)
    return function


def after_snapshot(function):
    """Has snapshot() call `function` afterwards in the original, also when there is no snapshot."""
    _after.append(function)
    return function


def after_restore(function):
    """Has snapshot() call `function` in what was restored, the first registered one first."""
    _restored.append(function)
    return function


def _freshen(reseed):
    """Clones must not draw the same numbers; their temporary directory may be another one."""
    tempfile.tempdir = None
    if reseed:
        random.seed()
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()


def snapshot(tag, *, replace=False, persisted=False, reseed=True):
    """Takes a snapshot of the job that this process belongs to. Returns as os.fork() does, here and in what is made of it.

    replace: take the place of a snapshot of the same name. persisted: return when it would survive a power failure.
    reseed: in what is restored, seed `random` and, where it is imported, numpy's global generator anew.
    """
    if not _library:
        raise SnapshotError("Ebbtide's library is not in this process: start it by `ebb run`")
    with _turn:
        for function in reversed(_before):
            function()
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()  # or it would be written twice
        result = _library.ebb_snapshot(os.fsencode(tag), replace * _REPLACE | persisted * _PERSISTED)
        error = os.fsdecode(_library.ebb_last_error()) if result == _ERROR else ""
        if result == _RESTORED:
            _freshen(reseed)
        for function in _restored if result == _RESTORED else _after:
            function()
    if error:
        raise SnapshotError(error)
    return Result("restored", arguments()) if result == _RESTORED else Result("running", {})
