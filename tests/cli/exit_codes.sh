# 125, 126, 127, 128+n and the program's own codes.
. "$(dirname "$0")/common.sh"

for n in 0 1 3 124 125 126 127 255; do
  observe run -q sh -c "exit $n"
  expect_code $n "the program's own code $n"
  expect_equal "$err" "" "the program's own code $n, -q"
done

for signal in TERM KILL SEGV ABRT USR1; do
  observe run -q sh -c "ulimit -c 0; kill -$signal \$\$"
  expect_code $((128 + $(kill -l $signal))) "killed by $signal"
done

observe run no-such-command-here
expect_code 127 "no such command"
expect_in "$err" "no-such-command-here" "no such command"
observe run "$folder/absent"
expect_code 127 "no such file"
observe run ""
expect_code 127 "empty command"
echo 'echo hello' >"$folder/plain"
observe run "$folder/plain"
expect_code 126 "not executable"
expect_in "$err" "chmod +x" "not executable"
observe run "$folder"
expect_code 126 "a directory"
printf '#!/no/such/interpreter\n' >"$folder/script"
chmod +x "$folder/script"
observe run -q "$folder/script"
expect_code 127 "missing interpreter"
expect_in "$err" "/no/such/interpreter" "missing interpreter"
printf 'exit 9\n' >"$folder/script"
observe run -q "$folder/script"
expect_code 9 "a script without #!"
printf '#!/bin/sh\nexit 8\n' >"$folder/script"
observe run -q "$folder/script"
expect_code 8 "a script with #!"

# Usage errors name the option.
bad() {
  local what=$1
  shift
  observe "$ebb" "$@"
  expect_code 125 "$*"
  expect_in "$err" "$what" "$*"
  expect_equal "$out" "" "stdout of $*"
}
bad "no command"
bad "unknown command nonsense" nonsense
bad "unknown option --nonsense" --nonsense
bad "no command given" run
bad "no command given" run -d 64M --
bad "--nonsense" run --nonsense true
bad "-z" run -z true
bad "--dram" run --dram
bad "has no unit" run -d 8 true
bad "has no unit" run --dram=8192 true
bad "unknown unit" run -d 8Q true
bad "out of range" run -d 101% true
bad "not a size" run -d lots true
bad "too small" run -d 31M true
bad "--report" run --report - true
bad "exclude each other" run -q -v true
bad "--name" run --name "" true
EBB_VERBOSE=7 bad "EBB_VERBOSE" run true
EBB_DRAM=8 bad "EBB_DRAM" run true

observe "$ebb" --version
expect_code 0 --version
expect_in "$out" "ebb " --version
observe "$ebb" help
expect_code 0 help
expect_in "$out" "ebb run" help
observe "$ebb" run --help
expect_code 0 "run --help"
expect_in "$out" "--dram" "run --help"
finish
