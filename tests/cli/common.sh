# What the scripts share: a private installation with the stand-in library, and expectations that count.
# Usage of each script: NAME.sh EBB LIBRARY STATIC_PROGRAM
set -u
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/lib" "$folder/tier" "$folder/home"
cp "$1" "$folder/bin/ebb"
cp "$2" "$folder/lib/libebbtide.so"
ebb=$folder/bin/ebb
library=$(readlink -f "$folder/lib/libebbtide.so")
static_program=$3
tier=$folder/tier
export HOME=$folder/home
unset EBB_DRAM EBB_SLOW EBB_JOB EBB_VERBOSE LD_PRELOAD XDG_CACHE_HOME R_MAX_VSIZE SLURM_JOB_ID SLURM_MEM_PER_NODE
export LC_ALL=C
failures=0
skipped=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
skip() { echo "SKIP: $*"; skipped=$((skipped + 1)); }

# Runs a command; leaves $code, $out, $err.
observe() {
  "$@" >"$folder/out" 2>"$folder/err"
  code=$?
  out=$(cat "$folder/out")
  err=$(cat "$folder/err")
}
# expect_code N WHAT: the last observe ended with N.
expect_code() { [ "$code" = "$1" ] || fail "$2: exit code $code instead of $1; stderr: $err"; }
expect_equal() { [ "$1" = "$2" ] || fail "$3: '$1' instead of '$2'"; }
expect_in() { case $1 in *"$2"*) ;; *) fail "$3: no '$2' in '$1'" ;; esac; }
expect_not_in() { case $1 in *"$2"*) fail "$3: '$2' in '$1'" ;; esac; }
# A run with everything named, quiet unless -v is given in the arguments.
run() { "$ebb" run -d 64M -s "file:$tier" "$@"; }
finish() {
  echo "$failures failed, $skipped skipped"
  [ "$failures" = 0 ] || exit 1
  exit 0
}
