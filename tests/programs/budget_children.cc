// A process near its budget forks two children, and all three write everything they have, twice.
// run: cold
#include <sys/wait.h>

#include "cold.h"

int main() {
  const size_t bytes = cold_dram() / 8 * 7;
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  pid_t pid[2];
  for (pid_t& child : pid) {
    child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
      for (uint64_t round = 2; round < 4; ++round) {
        cold_fill(p, bytes, round);
        EXPECT_FILLED(p, bytes, round);
      }
      _exit(0);
    }
  }
  for (uint64_t round = 4; round < 6; ++round) {
    cold_fill(p, bytes, round);
    EXPECT_FILLED(p, bytes, round);
  }
  for (pid_t child : pid) {
    int status = 1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
  }
  EXPECT_FILLED(p, bytes, 5);
  puts("ok");
  return 0;
}
