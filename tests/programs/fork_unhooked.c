/* Checklist 20: a child of _Fork or of a raw clone sees the right bytes or dies of a signal, but never sees zeros for cold pages. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 2 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  for (int raw = 0; raw < 2; ++raw) {
    const pid_t pid = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : _Fork();
    EXPECT(pid >= 0);
    if (pid == 0) _exit(cold_mismatch(p, bytes, 1) == bytes ? 0 : 1);
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT(status == 0 || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS)));
    fprintf(stderr, "%s: status %#x\n", raw ? "clone" : "_Fork", status);
    EXPECT_FILLED(p, bytes, 1);
  }
  puts("ok");
  return 0;
}
