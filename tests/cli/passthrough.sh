# The program's arguments, descriptors, environment, working directory and silence are its own.
. "$(dirname "$0")/common.sh"

head -c 300000 /dev/urandom >"$folder/data"
run -q cat <"$folder/data" >"$folder/copy" 2>"$folder/err"
cmp -s "$folder/data" "$folder/copy" || fail "stdin to stdout: bytes differ"
expect_equal "$(cat "$folder/err")" "" "stderr with -q"

observe run -q sh -c 'echo to-out; echo to-err >&2'
expect_equal "$out" "to-out" "stdout"
expect_equal "$err" "to-err" "stderr with -q is the program's only"
observe run sh -c 'echo to-out'
expect_equal "$out" "to-out" "stdout without -q"
expect_in "$err" "fitted in DRAM" "summary on stderr"

# Options end at the first word that is not one; after that everything is the program's.
observe run -q printf '%s|' -d 8 --report x -- -q
expect_equal "$out" "-d|8|--report|x|--|-q|" "arguments"
observe run -q -- printf '%s|' --
expect_equal "$out" "--|" "arguments after --"
observe "$ebb" run -qd64M -sfile:"$tier" printf '%s' ok
expect_equal "$out" "ok" "short options in one word"
observe "$ebb" run --quiet --dram=64M --slow=file:"$tier" printf '%s' ok
expect_equal "$out" "ok" "long options with ="

(cd "$tier" && observe run -q pwd; echo "$out" >"$folder/pwd")
expect_equal "$(cat "$folder/pwd")" "$tier" "working directory"

observe run -q sh -c 'echo $EBB_DRAM $EBB_SLOW $EBB_VERBOSE; test -e $EBB_JOB && echo page'
expect_equal "$out" "67108864B file:$tier 0
page" "variables"
observe run -q sh -c 'echo $R_MAX_VSIZE'
expect_equal "$out" "1048576G" "R_MAX_VSIZE"
R_MAX_VSIZE=5G observe run -q sh -c 'echo $R_MAX_VSIZE'
expect_equal "$out" "5G" "R_MAX_VSIZE set by the user"

# Nothing of ours is open in the program, and what was closed stays closed.
observe ls /proc/self/fd
bare=$out
observe run -q ls /proc/self/fd
expect_equal "$out" "$bare" "open descriptors"
run -q sh -c 'readlink /proc/$$/fd/0 >&2 || echo closed >&2' 0<&- 2>"$folder/err"
expect_equal "$(cat "$folder/err")" "closed" "closed stdin"
# A broken stderr does not change the exit code.
run -v sh -c 'exit 5' 2>/dev/full
expect_equal $? 5 "exit code with a full stderr"
run -v sh -c 'exit 6' 2>&-
expect_equal $? 6 "exit code with stderr closed"
finish
