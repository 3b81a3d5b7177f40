"""Checks that the runtime's layers include only themselves and what is below them, and that the snapshot library, which is
below the command, includes itself and the runtime's base only.

    layers.py [SOURCE_FOLDER]

Each folder of runtime/ is a layer. Exceptions are listed here, with their reason, and nowhere else. An exception that
nothing needs any more is a failure too.
"""
import pathlib
import re
import sys

# From below to the top: runtime/CMakeLists.txt says the same.
LAYERS = ["base", "os", "policy", "space", "store", "pager", "job", "interpose"]

# The layout of the job's control page is a contract between processes, of every layer that counts, of the command line
# and of snapshots. It belongs to the job, and includes nothing of ours.
EXCEPTIONS = {("runtime/pager/budget.h", "job/control.h"), ("snapshot/job_pages.h", "job/control.h")}

# What the snapshot library may include of ours. Its part that knows CRIU shares three headers with the command, which are
# a library of their own (ebb_tools_base).
BELOW_SNAPSHOT = ["snapshot", "base"]
SHARED_WITH_SNAPSHOT = ["tools/console.h", "tools/fd.h", "tools/system_files.h"]

# Everything the process holds: for the layer that owns it.
PRIVATE = {"job/state.h": "runtime/job/"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^">]+)[">]', re.M)


def includes(path):
    text = path.read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def complaints(root):
    needed = set()
    for path in sorted(p for part in ("runtime", "snapshot", "tools", "tests", "bench") for p in (root / part).rglob("*")
                       if p.suffix in (".c", ".cc", ".h")):
        name = path.relative_to(root).as_posix()
        folders = name.split("/")
        layer = folders[1] if folders[0] == "runtime" else None
        if layer is not None and layer not in LAYERS:
            yield f"{name}: '{layer}' is no layer; name it in LAYERS of tests/layers.py and in runtime/CMakeLists.txt"
            continue
        for line, included in includes(path):
            where = f"{name}:{line}"
            # Its last two parts: private by whatever way it is reached.
            owner = PRIVATE.get("/".join(included.split("/")[-2:]))
            if owner and not name.startswith(owner):
                yield f"{where}: {included} is for {owner} only"
            target = included.split("/")[0]
            if folders[0] == "snapshot" and target in [*LAYERS, "tools", "runtime", "tests"] and target not in BELOW_SNAPSHOT \
                    and included not in SHARED_WITH_SNAPSHOT:
                if (name, included) in EXCEPTIONS:
                    needed.add((name, included))
                else:
                    yield f"{where}: the snapshot library must not include {included}"
            if layer is None:
                continue
            if (path.parent / included).is_file() or target in (".", ".."):
                yield f'{where}: write "{layer}/{included}", so that the layer can be seen'
            elif target in LAYERS and "/" in included and LAYERS.index(target) > LAYERS.index(layer):
                if (name, included) in EXCEPTIONS:
                    needed.add((name, included))
                else:
                    yield f"{where}: {layer} must not include {included}, which is above it"
    for name, included in EXCEPTIONS:
        if (name, included) not in needed:
            yield f"tests/layers.py: {name} does not include {included} any more: drop the exception"
        for line, other in includes(root / "runtime" / included):
            if other.split("/")[0] in LAYERS:
                yield f"runtime/{included}:{line}: includes {other}, but lower layers include this file"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    for layer in LAYERS:
        if not (root / "runtime" / layer).is_dir():
            print(f"{root}/runtime/{layer} is missing: wrong folder?")
            return 1
    found = list(complaints(root))
    print("\n".join(found) if found else f"{len(LAYERS)} layers, {len(EXCEPTIONS)} exception, each where it belongs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
