/* Checklist 15: MADV_WIPEONFORK gives the child zeros and MADV_DONTFORK nothing, though the pages are cold; the rest is there. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 16 * MIB;
  char* p = cold_make(bytes, 1);
  EXPECT(madvise(p + 2 * MIB, 3 * MIB, MADV_WIPEONFORK) == 0);
  EXPECT(madvise(p + 8 * MIB, 3 * MIB, MADV_DONTFORK) == 0);
  cold_press();
  for (int round = 0; round < 2; ++round) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      EXPECT_FILLED(p, 2 * MIB, 1);
      if (round == 0) EXPECT_ZERO(p + 2 * MIB, 3 * MIB);
      else EXPECT_FILLED_FROM(p + 2 * MIB, 3 * MIB, 1, 2 * MIB);
      EXPECT_FILLED_FROM(p + 5 * MIB, 3 * MIB, 1, 5 * MIB);
      if (round == 0) EXPECT(madvise(p + 8 * MIB, PAGE, MADV_NORMAL) == -1 && errno == ENOMEM);
      else EXPECT_FILLED_FROM(p + 8 * MIB, 3 * MIB, 1, 8 * MIB);
      EXPECT_FILLED_FROM(p + 11 * MIB, 5 * MIB, 1, 11 * MIB);
      _exit(0);
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT_FILLED(p, bytes, 1);
    EXPECT(madvise(p, bytes, MADV_KEEPONFORK) == 0 && madvise(p, bytes, MADV_DOFORK) == 0);
    cold_press();
  }
  puts("ok");
  return 0;
}
