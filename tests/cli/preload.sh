# LD_PRELOAD is added to, never replaced; programs that cannot be helped run all the same.
. "$(dirname "$0")/common.sh"
show='echo "$LD_PRELOAD"'

observe run -q sh -c "$show"
expect_equal "$out" "$library" "nothing there before"
cp "$library" "$folder/lib/libother.so"
cp "$library" "$folder/lib/libjemalloc.so.2"
LD_PRELOAD=$folder/lib/libother.so observe run sh -c "$show"
expect_equal "$out" "$library:$folder/lib/libother.so" "another library is kept"
expect_not_in "$err" "warning" "another library is no reason to warn"
LD_PRELOAD="$folder/lib/libother.so $folder/lib/libjemalloc.so.2" observe run sh -c "$show"
expect_equal "$out" "$library:$folder/lib/libother.so:$folder/lib/libjemalloc.so.2" "blanks separate, too"
expect_in "$err" "libjemalloc.so.2 in LD_PRELOAD is kept" "another allocator is named"

# A run within a run: one copy of the library, a warning.
observe run "$ebb" run -d 64M -s "file:$tier" sh -c "$show"
expect_equal "$out" "$library" "a run within a run"
expect_in "$err" "inside a run" "a run within a run"

observe run "$static_program"
expect_code 0 "static program"
expect_equal "$out" "static ran" "static program"
expect_in "$err" "statically linked" "static program"
expect_equal "$(grep -c "cannot help" "$folder/err")" 1 "static program: one line"
printf '#!%s\n' "$static_program" >"$folder/script"
chmod +x "$folder/script"
observe run "$folder/script"
expect_in "$err" "statically linked" "script of a static interpreter"

if [ "$(id -u)" = 0 ]; then
  cp "$(type -P true)" "$folder/suid"
  chown nobody "$folder/suid"
  chmod u+s "$folder/suid"
  observe run "$folder/suid"
  expect_code 0 "set-user-ID"
  expect_in "$err" "set-user-ID" "set-user-ID"
else
  skip "set-user-ID: needs root to make such a program"
fi

# A 32-bit ELF header: the loader would complain about our library, so it must stay out.
printf '\177ELF\001\001\001' >"$folder/elf32"
head -c 200 /dev/zero >>"$folder/elf32"
chmod +x "$folder/elf32"
observe run "$folder/elf32"
expect_in "$err" "32 bits" "32-bit program"

rm "$folder/lib/libebbtide.so"
observe run true
expect_code 125 "no library"
expect_in "$err" "lib/libebbtide.so" "no library: the places"
finish
