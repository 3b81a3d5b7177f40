# `ebb doctor`: its verdict is its exit code, text and JSON agree.
. "$(dirname "$0")/common.sh"

observe "$ebb" doctor
[ "$code" = 0 ] || [ "$code" = 1 ] || fail "exit code $code; $err"
text_code=$code
for title in kernel userfaultfd io_uring "memory cgroup" "huge pages" CRIU libebbtide.so; do
  expect_in "$out" "$title" "text"
done
expect_not_in "$out" "$(printf '\033')" "colour although not on a terminal"
observe "$ebb" doctor --json
expect_equal "$code" "$text_code" "exit codes of text and JSON"
echo "$out" | python3 -c '
import json, sys
d = json.load(sys.stdin)
assert d["schema"] == "ebbtide.doctor/1"
assert d["can_page"] == (sys.argv[1] == "0")
assert d["can_page"] == all(c["status"] != "fail" for c in d["checks"])
for c in d["checks"]:
    assert set(c) == {"id", "title", "status", "detail", "lost", "mend"} and c["detail"], c
    assert c["status"] in ("ok", "warn") or c["mend"], c
' "$code" || fail "JSON"
observe "$ebb" doctor --nonsense
expect_code 125 "unknown option"
rm "$folder/lib/libebbtide.so"
observe "$ebb" doctor
expect_code 1 "without the library"
observe "$ebb" doctor --help
expect_code 0 "--help"
finish
