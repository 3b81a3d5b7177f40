/* Children killed while they evict leave the job's budget and the parent's memory as they were. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 2 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  for (unsigned i = 0; i < 12; ++i) {
    int ready[2];
    EXPECT(pipe(ready) == 0);
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      cold_fill(p, MIB * (1 + i % 4), 2);
      if (write(ready[1], "x", 1) != 1) _exit(1);
      for (uint64_t round = 0;; ++round) cold_fill(p, bytes, round);
    }
    char byte;
    EXPECT(read(ready[0], &byte, 1) == 1);
    cold_fill(p, MIB, 1);
    EXPECT(kill(pid, SIGKILL) == 0);
    int status = 0;
    EXPECT(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
    close(ready[0]), close(ready[1]);
    EXPECT_FILLED(p, bytes, 1);
  }
  puts("ok");
  return 0;
}
