/* Three children at once, each with more memory of its own than the job's whole budget, beside their parent's. */
/* run: cold */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "cold.h"

enum { kChildren = 3 };

int main(void) {
  const size_t bytes = cold_dram() / 4 * 5;
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  pid_t pid[kChildren];
  for (unsigned i = 0; i < kChildren; ++i) {
    pid[i] = fork();
    EXPECT(pid[i] >= 0);
    if (pid[i] == 0) {
      char* own = cold_map(bytes);
      cold_fill(own, bytes, 10 + i);
      EXPECT_FILLED(p, bytes, 1);
      cold_fill(p, bytes / 2, 20 + i);
      EXPECT_FILLED(own, bytes, 10 + i);
      EXPECT_FILLED(p, bytes / 2, 20 + i);
      EXPECT_FILLED_FROM(p + bytes / 2, bytes / 2, 1, bytes / 2);
      _exit(0);
    }
  }
  EXPECT_FILLED(p, bytes, 1);
  for (unsigned i = 0; i < kChildren; ++i) {
    int status = 1;
    EXPECT(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
  }
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
