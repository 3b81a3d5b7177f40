# The JSON report: valid, complete, and never a reason for a wrong exit code.
. "$(dirname "$0")/common.sh"
file=$folder/report.json
field() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v=v[k]
print(json.dumps(v))' "$file" "$1"; }

observe run -q --report "$file" --name "my job" sh -c 'exit 3' "ä \"quoted\""
expect_code 3 "the program's code"
python3 -m json.tool "$file" >/dev/null || fail "not valid JSON"
expect_equal "$(field schema)" '"ebbtide.run/1"' schema
expect_equal "$(field name)" '"my job"' name
expect_equal "$(field exit_code)" 3 exit_code
expect_equal "$(field signal)" null signal
expect_equal "$(field job.budget_bytes)" 67108864 budget
expect_equal "$(field managed)" true managed
expect_equal "$(field argv)" '["sh", "-c", "exit 3", "\u00e4 \"quoted\""]' argv
python3 - "$file" <<'P' || fail "times"
import datetime, json, sys
r = json.load(open(sys.argv[1]))
start, end = (datetime.datetime.strptime(r[k], "%Y-%m-%dT%H:%M:%S.%fZ") for k in ("started_at", "finished_at"))
assert start <= end and isinstance(r["wall_ns"], int) and r["wall_ns"] > 0
P
expect_equal "$(ls "$folder" | grep -c tmp)" 0 "no temporary file is left"

observe run -q --report "$file" sh -c 'kill -TERM $$'
expect_equal "$(field exit_code) $(field signal) $(field signal_name)" '143 15 "SIGTERM"' "a signal"
observe run -q --report "$file" printf '' "$(printf '\377')"
python3 -m json.tool "$file" >/dev/null || fail "arguments that are not UTF-8"
observe run -q --report "$file" "$static_program"
expect_equal "$(field program_path)" "\"$static_program\"" "static program"

ln -s report.json "$folder/link"
observe run -q --report "$folder/link" true
[ -L "$folder/link" ] || fail "a symbolic link was replaced"
observe run -q --report /dev/null true
expect_code 0 "/dev/null"
[ -c /dev/null ] || fail "/dev/null was replaced"

observe run --report "$folder/absent/x.json" touch "$folder/started"
expect_code 125 "no such directory"
[ ! -e "$folder/started" ] || fail "no such directory: the program was started"
observe run --report "$folder" true
expect_code 125 "a directory"
# The directory goes away while the program runs.
mkdir "$folder/gone"
observe run --report "$folder/gone/x.json" rmdir "$folder/gone"
expect_code 125 "the report cannot be written, the program succeeded"
expect_in "$err" "--report" "the report cannot be written"
mkdir "$folder/gone"
observe run --report "$folder/gone/x.json" sh -c "rmdir $folder/gone; exit 3"
expect_code 3 "the report cannot be written, the program failed"
finish
