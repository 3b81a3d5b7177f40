# `ebb snapshots`: the catalogue on the command line. The snapshot comes from an archive that Python makes to the letter of
# docs/snapshots.md, so that the format is tested from outside, too.
. "$(dirname "$0")/common.sh"
unset EBB_SNAPSHOTS XDG_DATA_HOME
umask 022
python=/usr/bin/python3  # Debian's, which has Debian's modules; the one on PATH may not
root=$folder/snapshots
snapshots() { "$ebb" snapshots "$@" --root "$root"; }
value() { python3 -c 'import json,sys; v=json.load(sys.stdin)
for k in sys.argv[1].split("."): v=v[int(k)] if k.isdigit() else v[k]
print(v)' "$1" <<<"$out"; }

observe snapshots ls
expect_code 0 "an empty catalogue"
expect_in "$out" "no snapshots in $root" "an empty catalogue"
observe "$ebb" snapshots ls
expect_in "$out" "$HOME/.local/share/ebbtide/snapshots" "the default"
EBB_SNAPSHOTS=$folder/other observe "$ebb" snapshots ls
expect_in "$out" "$folder/other" "EBB_SNAPSHOTS"

# A draft that nobody makes any more.
mkdir -m 700 "$root/.draft-half-0123abcd"
observe snapshots ls
expect_in "$out" "Incomplete" "a left-over draft"
observe snapshots prune --keep-last 1
expect_in "$out" "removed .draft-half-0123abcd: left over" "sweeping"
[ ! -e "$root/.draft-half-0123abcd" ] || fail "the left-over draft is still there"

if ! $python -c 'import xxhash' 2>/dev/null; then
  skip "python3-xxhash is not here: no archive to import"
  finish
fi
$python - "$folder/base.tar" <<'P'
import io, json, struct, sys, tarfile, xxhash
def checksum(data):
    h = b""
    for n in range(0, len(data), 1 << 20):
        piece = data[n:n + (1 << 20)]
        if piece.strip(b"\0"):
            v = xxhash.xxh3_128(piece).intdigest()
            h += struct.pack("<QQQ", n >> 20, v >> 64, v & (1 << 64) - 1)
    return xxhash.xxh3_128(h + struct.pack("<Q", len(data))).hexdigest()
files = {"heap/0": b"\0" * (1 << 20) + b"heap" * 1000, "images/pages-1.img": b"p" * 5000}
m = {"schema": "ebbtide.snapshot/1", "tag": "base", "id": "0" * 32, "created_at": "2026-01-31T09:05:07.123Z", "owner_uid": 7,
     "boot_id": "b", "kernel_release": "6.1", "cpu_model": "c", "cpu_flags_digest": "d", "criu_version": "4.1",
     "command": ["Rscript", "a b.R"], "root_pid": 10, "pids": [10, 11], "terminal": False, "job_name": "Rscript",
     "parent_id": None, "parent_tag": "", "generation": 0, "open_files": [], "clone_arguments": [],
     "dram_budget_bytes": 1 << 30, "slow_spec": "", "engine": {}, "persisted": True,
     "files": [{"path": p, "bytes": len(d), "allocated_bytes": len(d), "checksum": checksum(d)} for p, d in files.items()]}
def text(): return (json.dumps(m, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
m["checksum"] = xxhash.xxh3_128(text()).hexdigest()
with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:
    for path, data in {"manifest.json": text(), **files}.items():
        info = tarfile.TarInfo("base/" + path)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
P
observe snapshots import "$folder/base.tar"
expect_code 0 "import"
expect_in "$err" "imported base" "import"
observe snapshots import "$folder/base.tar"
expect_code 125 "import twice"
expect_in "$err" "already" "import twice"
observe snapshots ls
expect_in "$out" "base  Persisted  2026-01-31T09:05:07Z" "ls"
expect_in "$out" "Rscript 'a b.R'" "ls"
observe snapshots ls --json
expect_equal "$(value snapshots.0.tag) $(value snapshots.0.state) $(value snapshots.0.processes)" "base Persisted 2" "ls --json"
observe snapshots show base --json
expect_equal "$(value manifest.owner_uid) $(value manifest.criu_version)" "$(id -u) 4.1" "show --json"
observe snapshots show base
expect_in "$out" "budget       1.0 GiB" "show"
observe snapshots show bse
expect_code 125 "a typing mistake"
expect_in "$err" "did you mean base?" "a typing mistake"
observe snapshots verify --all
expect_code 0 "verify"
expect_equal "$out" "base: every byte as it was written" "verify"

# Out by a pipe and in again.
"$ebb" snapshots export base - --root "$root" | "$ebb" snapshots import - --as copy --root "$root" 2>"$folder/err" ||
  fail "through a pipe: $(cat "$folder/err")"
observe snapshots export base "$folder/again.tar"
expect_code 0 "export"
expect_equal "$(tar -tf "$folder/again.tar" | head -n 1)" "base/manifest.json" "export"
expect_equal "$(stat -c %a "$folder/again.tar")" 600 "the archive's mode"
observe snapshots verify base copy --json
expect_equal "$code $(value good)" "0 True" "verify of both"

# Damage.
printf x | dd of="$root/copy/images/pages-1.img" bs=1 seek=100 conv=notrunc status=none
observe snapshots verify copy
expect_code 1 "damage"
expect_equal "$out" "copy: images/pages-1.img: its checksum differs" "damage"
observe snapshots verify --all --json
expect_equal "$code $(value good)" "1 False" "damage"

# Somebody uses it.
exec 8<"$root/base/in-use"
flock -s 8
observe snapshots rm base
expect_code 125 "in use"
expect_in "$err" "snapshot base stays:" "in use"
expect_in "$err" "process" "in use"  # by number only where the one that locked it can be seen still: `flock` has ended
exec 8<&-
observe snapshots prune --keep-last 0 --dry-run
expect_in "$out" "would remove 2 of 2" "prune --dry-run"
observe snapshots rm base nonsense
expect_code 125 "rm with a typing mistake"
[ -d "$root/base" ] || fail "rm with a typing mistake removed the other"
observe snapshots prune --older-than 1h --keep-last 1
expect_in "$out" "removed 1 of 2" "prune"
observe snapshots rm "$(ls "$root")"
expect_code 0 "rm"
observe snapshots ls
expect_in "$out" "no snapshots" "all removed"

# A kill at any step of an import leaves nothing or everything.
for step in $(seq 1 40); do
  EBB_TEST_FAILURE_POINT=$step observe snapshots import "$folder/base.tar"
  [ "$code" = 0 ] && break
  expect_code 137 "killed at step $step"
  if [ -d "$root/base" ]; then
    observe snapshots verify base
    expect_code 0 "after the kill at step $step"
    observe snapshots rm base
  fi
done
expect_equal "$code" 0 "import gets through"

chmod 777 "$root"
observe snapshots ls
expect_code 125 "a root that others can write to"
expect_in "$err" "others can write to $root" "a root that others can write to"
observe "$ebb" snapshots prune
expect_code 125 "prune without a rule"
observe "$ebb" snapshots --help
expect_in "$out" "--keep-last" "help"
observe "$ebb" help snapshots
expect_in "$out" "--keep-last" "help"
finish
