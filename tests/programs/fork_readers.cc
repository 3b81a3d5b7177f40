// Children that read what their parent has in DRAM, and write little of it, take no room of their own: nothing of it is
// evicted, although five full copies would be three times the budget.
#include <sys/wait.h>

#include "cold.h"

int main() {
  constexpr int kChildren = 4;
  const size_t bytes = cold_dram() / 8 * 5, part = bytes / 16;
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  pid_t pid[kChildren];
  for (int k = 0; k < kChildren; ++k) {
    pid[k] = fork();
    EXPECT(pid[k] >= 0);
    if (pid[k]) continue;
    EXPECT_FILLED(p, bytes, 1);
    char* const mine = p + static_cast<size_t>(k + 1) * part;
    cold_fill(mine, part, 7);
    EXPECT_FILLED(mine, part, 7);
    EXPECT_FILLED(p, part, 1);
    _exit(0);
  }
  for (pid_t child : pid) {
    int status = 1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
  }
  EXPECT(cold_present(p, bytes) == bytes / PAGE);
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
