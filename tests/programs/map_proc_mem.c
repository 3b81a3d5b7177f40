/* Checklist 34: through /proc/PID/mem, as debuggers do, a cold page is right or an error (the kernel does not wait for it there). */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "cold.h"

static int g_errors; /* pages that could not be had; none when bare */

static void check_through(int mem, const char* at, size_t bytes, uint64_t seed) {
  static char page[4096];
  for (size_t i = 0; i < bytes; i += PAGE) {
    const ssize_t n = pread(mem, page, PAGE, (off_t)(uintptr_t)(at + i));
    EXPECT(n == (ssize_t)PAGE || (n == -1 && errno == EIO));
    if (n < 0) ++g_errors;
    else EXPECT_FILLED_FROM(page, PAGE, seed, i);
  }
}

/* What was written, or could not be: `written` tells. */
static void write_through(int mem, char* at, size_t bytes, uint64_t seed, char* written) {
  static char page[4096];
  for (size_t i = 0; i < bytes; i += PAGE) {
    for (size_t k = 0; k < PAGE / 8; ++k) ((uint64_t*)page)[k] = cold_word(seed, i / 8 + k);
    const ssize_t n = pwrite(mem, page, PAGE, (off_t)(uintptr_t)(at + i));
    EXPECT(n == (ssize_t)PAGE || (n == -1 && errno == EIO));
    written[i / PAGE] = n > 0;
    g_errors += n < 0;
  }
}

static void check_written(const char* p, size_t bytes, uint64_t before, uint64_t after, const char* written) {
  for (size_t i = 0; i < bytes; i += PAGE) EXPECT_FILLED_FROM(p + i, PAGE, written[i / PAGE] ? after : before, i);
}

int main(void) {
  const size_t bytes = 6 * MIB;
  char* p = cold_make(bytes, 1);
  static char written[6 * 256];
  int mem = open("/proc/self/mem", O_RDWR);
  EXPECT(mem >= 0);
  check_through(mem, p, bytes, 1);
  write_through(mem, p, bytes, 2, written);
  check_written(p, bytes, 1, 2, written);
  check_through(mem, p, bytes / 4, written[0] ? 2 : 1);
  cold_fill(p, bytes, 2);
  check_through(mem, p, bytes, 2);
  close(mem);

  /* A traced and stopped child: its pager must answer while it stands. */
  cold_evict(p, bytes);
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    cold_press();
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(77);
    raise(SIGSTOP);
    for (size_t i = 0; i < bytes; i += PAGE)
      if (cold_mismatch_from(p + i, PAGE, 3, i) != PAGE) EXPECT_FILLED_FROM(p + i, PAGE, 2, i);
    _exit(0);
  }
  int status = 0;
  EXPECT(waitpid(pid, &status, 0) == pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    puts("ptrace is not allowed here");
    return 77;
  }
  EXPECT(WIFSTOPPED(status));
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  mem = open(path, O_RDWR);
  EXPECT(mem >= 0);
  check_through(mem, p, bytes, 2);
  write_through(mem, p, bytes, 3, written);
  EXPECT(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  EXPECT_FILLED(p, bytes, 2); /* its own copy */
  EXPECT(cold_is_tiered() || g_errors == 0);
  puts("ok");
  return 0;
}
