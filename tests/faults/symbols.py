"""What the library shows and what it needs: exports exactly as exports.map promises, needs only glibc, loads without text
relocations, and its thread-local storage is of the initial-exec kind (no call into the loader inside malloc).

    symbols.py LIBRARY EXPORTS_MAP
"""
import re
import shutil
import subprocess
import sys

GLIBC = {"libc.so.6", "ld-linux-x86-64.so.2"}


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def promised(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return set(re.findall(r"[\w.]+", re.search(r"global:(.*?)local:", text, re.S)[1]))


def main():
    library, exports_map = sys.argv[1:]
    for tool in ("nm", "readelf"):
        if not shutil.which(tool):
            print(f"SKIPPED: there is no {tool}; it is in Debian's binutils")
            return 77
    wrong = []
    expected = promised(exports_map)
    exported = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()}
    if exported != expected:
        wrong.append(f"exported and not promised: {sorted(exported - expected)}; promised and not exported: "
                     f"{sorted(expected - exported)}")
    dynamic = output("readelf", "-dW", library)
    needed = set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.*?)\]", dynamic))
    if not needed or not needed <= GLIBC:
        wrong.append(f"needs {sorted(needed)}; only {sorted(GLIBC)} may be")
    if re.search(r"\(R(?:UN)?PATH\)", dynamic):
        wrong.append("has a RUNPATH")
    if "TEXTREL" in dynamic:
        wrong.append("has text relocations")
    if "STATIC_TLS" not in dynamic:
        wrong.append("is not marked STATIC_TLS: its thread-local storage is not of the initial-exec kind")
    if not re.search(r"BIND_NOW|FLAGS_1\).*NOW", dynamic):
        wrong.append("binds lazily")
    undefined = output("nm", "-D", "--undefined-only", library).splitlines()
    for line in undefined:
        kind, name = line.split()[-2:]
        base, _, version = name.partition("@")
        if base == "__tls_get_addr":
            wrong.append("calls __tls_get_addr: some thread-local variable is of a dynamic kind")
        elif kind != "w" and not version.startswith("GLIBC_"):
            wrong.append(f"needs {name}, which is not glibc's")
    stack = re.search(r"GNU_STACK\s.*", output("readelf", "-lW", library))
    if not stack or "E" in stack[0].split()[6]:
        wrong.append("wants an executable stack")
    for line in wrong:
        print(line)
    print(f"{len(exported)} symbols exported, {len(undefined)} needed of {', '.join(sorted(needed))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
