# Tiers and budgets: what is refused before anything starts, and what the defaults are.
. "$(dirname "$0")/common.sh"

refused() {
  local what=$1
  shift
  observe "$ebb" run -d 64M "$@" touch "$folder/started"
  expect_code 125 "$*"
  expect_in "$err" "$what" "$*"
  [ ! -e "$folder/started" ] || fail "$*: the program was started"
}
refused "dax" -s dax:/dev/dax0.0
refused "numa" -s numa:1
refused "is not a tier" -s "$tier"
refused "is not a tier" -s file:
refused "is not a tier" -s floppy:/x
refused "mkdir" -s "file:$folder/absent"
refused "comma" -s "file:$folder/a,b"
refused "cannot create files" -s file:/proc
mkdir "$folder/locked"
chmod 500 "$folder/locked"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  chmod 755 "$folder" "$folder/bin" "$folder/lib" "$folder/home"
  chown nobody "$folder/home"
  observe setpriv --reuid=65534 --regid=65534 --clear-groups "$ebb" run -d 64M -s "file:$folder/locked" true
elif [ "$(id -u)" != 0 ]; then
  observe "$ebb" run -d 64M -s "file:$folder/locked" true
else
  skip "unwritable tier: root can write everywhere and there is no setpriv"
  code=125 err="cannot create files"
fi
expect_code 125 "unwritable tier"
expect_in "$err" "cannot create files" "unwritable tier"

touch "$tier/a-file"
observe run -q -s "file:$tier/a-file" sh -c 'echo $EBB_SLOW'
expect_equal "$out" "file:$tier,file:$tier" "a file names its directory; tiers add up"
rm "$tier/a-file"
(cd "$folder" && observe "$ebb" run -q -d 64M -s file:tier sh -c 'cd /; echo $EBB_SLOW'; echo "$out" >"$folder/spec")
expect_equal "$(cat "$folder/spec")" "file:$tier" "relative paths are made absolute"
expect_equal "$(ls -A "$tier")" "" "nothing is left in the tier"

observe "$ebb" run -d 64M sh -c 'echo $EBB_SLOW'
expect_equal "$out" "file:$folder/home/.cache/ebbtide" "default tier"
expect_equal "$(stat -c %a "$folder/home/.cache/ebbtide")" 700 "default tier's mode"
expect_equal "$(grep -c "DRAM budget" "$folder/err")" 1 "default tier: said in one line"
XDG_CACHE_HOME=$folder/cache observe "$ebb" run -q sh -c 'echo $EBB_SLOW $EBB_DRAM'
expect_in "$out" "file:$folder/cache/ebbtide " "XDG_CACHE_HOME"
SLURM_JOB_ID=1 TMPDIR=$folder observe "$ebb" run -q -d 64M sh -c 'echo $EBB_SLOW'
expect_equal "$out" "file:$folder/ebbtide-$(id -u)" "TMPDIR under Slurm"
chmod 777 "$folder/home/.cache/ebbtide"
observe "$ebb" run -d 64M true
expect_code 125 "default tier that others can write"

EBB_DRAM=96M EBB_SLOW=file:$tier observe "$ebb" run -q sh -c 'echo $EBB_DRAM $EBB_SLOW'
expect_equal "$out" "100663296B file:$tier" "EBB_DRAM and EBB_SLOW"
EBB_DRAM=96M observe run -q sh -c 'echo $EBB_DRAM'
expect_equal "$out" "67108864B" "options beat variables"
SLURM_MEM_PER_NODE=200 observe "$ebb" run -q -d 50% -s "file:$tier" sh -c 'echo $EBB_DRAM'
expect_equal "$out" "104857600B" "half of what Slurm granted"
observe "$ebb" run -d 900T -s "file:$tier" true
expect_code 0 "budget larger than memory"
expect_in "$err" "warning: the budget" "budget larger than memory"

# Five jobs that take defaults one after the other are never promised more than there is.
nested='echo $EBB_DRAM; n=$((n-1)); export n; [ $n -gt 0 ] || exit 0; unset EBB_DRAM EBB_JOB; exec '"$ebb"' run -q -s file:'"$tier"' sh -c "$program"'
n=3 program=$nested observe "$ebb" run -q -s "file:$tier" sh -c "$nested"
set -- $(echo "$out" | tr -d B)
expect_equal "$#" 3 "three nested default jobs: $out $err"
if [ $# = 3 ]; then
  { [ "$2" -lt $(($1 / 2)) ] && [ "$3" -lt $(($2 / 2)) ]; } || fail "default budgets of jobs side by side: $*"
fi
finish
