"""The demo's second half: five parameter values tried on one large object in R. Loading it each time from what saveRDS
wrote, with and without compression, against one frozen session and five copies of it.
"""
import os
import re
import subprocess
import time

import arms

HERE = os.path.dirname(os.path.abspath(__file__))
CELLS = 8_000
BUDGET = 768 << 20  # of the session under Ebbtide: less than it needs
VALUES = [100, 150, 200, 250, 300]  # genes
TAG = "demo-parameters"


def _session(command, environment):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, **environment})


def _answer(session, word):
    for line in session.stdout:
        if line.startswith(f"== {word}"):
            return line[3:].strip()
    raise RuntimeError(f"the session ended before it said {word!r}")


def _ask(session, line, word):
    session.stdin.write(line + "\n")
    session.stdin.flush()
    return _answer(session, word)


def _end(session):
    session.stdin.close()
    if session.wait() != 0:
        raise RuntimeError(f"a session ended with {session.returncode}")


def _by_files(folder, work, kind, environment, tell):
    """Seconds to save, to load and try all values, and the results."""
    path = os.path.join(work, f"parameters-{kind}.rds")
    script = os.path.join(HERE, "session.R")
    tell(f"{kind} saveRDS: load the counts")
    first = _session(["Rscript", script, folder, str(CELLS)], environment)
    size = _answer(first, "loaded").split(" ", 1)[1]
    tell(f"{kind} saveRDS: save")
    start = time.monotonic()
    _ask(first, f"save {path} {kind}", "saved")
    saved = time.monotonic() - start
    _end(first)
    results = []
    start = time.monotonic()
    for value in VALUES:
        tell(f"{kind} saveRDS: load again, {value} genes")
        session = _session(["Rscript", script, path], environment)
        _answer(session, "loaded")
        results.append(_ask(session, f"try {value}", "result"))
        _end(session)
    tried = time.monotonic() - start
    os.unlink(path)
    return saved, tried, results, size


def _by_copies(folder, work, environment, tell):
    environment = {**environment, "EBB_SNAPSHOTS": os.path.join(work, "snapshots")}
    script = os.path.join(HERE, "session.R")
    tell("snapshot: load the counts")
    first = _session([arms.EBB, "run", "-q", "-d", str(BUDGET) + "B", "-s", f"file:{work}", "--name", TAG, "--clean-ahead", "--",
                      "Rscript", script, folder, str(CELLS)], environment)
    _answer(first, "loaded")
    tell("snapshot: freeze")
    start = time.monotonic()
    subprocess.run([arms.EBB, "snapshot", TAG, TAG, "-q", "--replace"], check=True, env={**os.environ, **environment})
    saved = time.monotonic() - start
    first.wait()
    results = []
    start = time.monotonic()
    for value in VALUES:
        tell(f"snapshot: a copy, {value} genes")
        done = subprocess.run([arms.EBB, "clone", TAG, "--arg", f"genes={value}"], check=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        results.append(re.search(r"^== (result .*?)\s*$", done.stdout, re.MULTILINE)[1])
    tried = time.monotonic() - start
    subprocess.run([arms.EBB, "snapshots", "rm", TAG], check=False, env={**os.environ, **environment},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return saved, tried, results


def run(folder, work, environment, tell):
    """Rows of a table and whether all results are the same. `tell(TEXT)` says what is going on."""
    rows = [("object kept by", "to keep it", "five values tried", "in all", "results")]
    expected, good = None, True
    for kind in ("gzip", "plain"):
        saved, tried, results, size = _by_files(folder, work, kind, environment, tell)
        expected = expected or results
        good = good and results == expected
        rows.append((f"saveRDS, {kind} ({size})", f"{saved:.1f} s", f"{tried:.1f} s", f"{saved + tried:.1f} s",
                     "equal" if results == expected else "DIFFERENT"))
    saved, tried, results = _by_copies(folder, work, environment, tell)
    good = good and results == expected
    rows.append((f"ebb snapshot, {BUDGET >> 20} MiB of DRAM", f"{saved:.1f} s", f"{tried:.1f} s", f"{saved + tried:.1f} s",
                 "equal" if results == expected else "DIFFERENT"))
    return rows, good
