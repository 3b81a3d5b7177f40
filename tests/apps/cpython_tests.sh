# CPython's own tests of maps, forks, processes and threads: the same set passes as bare.
# needs: python3
# dram: 64M
setup() { python3 -c 'import test.test_mmap' 2>/dev/null || { echo "this python3 has no test files (package libpython3-testsuite)"; exit 77; }; }
work() {
  for name in test_mmap test_fork1 test_subprocess test_threading test_thread test_posix test_os test_select \
    test_multiprocessing_fork test_multiprocessing_spawn test_concurrent_futures test_io test_gc test_array test_bytes; do
    python3 -m test -v "$name" >log 2>&1 || true
    # The name of a test and how it ended; the rest is times and addresses.
    sed -nE 's/^(test_[A-Za-z0-9_]+ \([^)]*\)).* \.\.\. (ok|FAIL|ERROR|skipped|expected failure).*$/\1 \2/p' log | sort
    grep -E '^(FAILED|OK|Result:|== Tests result)' log | sed -E 's/[0-9.]+ ?(s|ms|sec)//g' || true
  done
}
