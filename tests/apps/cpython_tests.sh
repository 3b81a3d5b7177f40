# CPython's own tests of maps, forks, processes and threads, run by a process that is paged: the same set passes as bare.
# needs: /usr/bin/python3 awk
# dram: 1G
# evicts: yes
setup() {
  /usr/bin/python3 -c 'import test.test_mmap, test.test_multiprocessing_fork' 2>/dev/null ||
    { echo "no test files for /usr/bin/python3 (package libpython3.11-testsuite)"; exit 77; }
  # The tests need less than the smallest budget. With this the process that runs them needs more, and most of what its
  # children inherit is cold.
  cat >sitecustomize.py <<'P'
import sys
if "-m" in sys.orig_argv and "test" in sys.orig_argv:
    sys.ballast = [bytes([i % 256]) * (1 << 20) for i in range(1100)]
P
}
work() {
  # Left out, as a difference that is known: these two want a child to have no descriptor but those it was given, and fstat
  # sees ours: the job page, and of a paged process the rest (below its limit of 29, where the second test looks).
  for name in test_mmap test_fork1 test_subprocess test_threading test_thread test_posix test_os test_select \
    test_multiprocessing_fork test_multiprocessing_spawn test_concurrent_futures test_io test_gc test_array test_bytes; do
    PYTHONPATH=$data /usr/bin/python3 -m test -v -i test_pass_fds_redirected \
      -i test_close_fds_when_max_fd_is_lowered "$name" >log 2>&1 || true
    grep -E '^Ran [0-9]+ test' log | sed 's/ in .*//'
    grep -q '^Ran [1-9]' log || { echo "$name ran no tests:"; tail -n 20 log; return 1; } >&2
    # The name of a test and how it ended, which may be a docstring or some output later; the rest is times and addresses.
    awk '/^test[A-Za-z0-9_]* \(/ { name = $1 " " $2 }
      name != "" && match($0, /(^|\.\.\. )(ok$|FAIL$|ERROR$|expected failure$|skipped )/) {
        how = substr($0, RSTART, RLENGTH); sub(/^\.\.\. /, "", how); print name, how; name = "" }' log | sort
    grep -E '^(FAILED|OK|Result:|== Tests result)' log || true
  done
}
