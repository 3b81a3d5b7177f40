/* Checklist 19: parent, child and grandchild see identical bytes, hot, cold and in between, and write without the others seeing it. */
/* run: cold */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "cold.h"

enum { kDepth = 3 };
static char* g_p;
static size_t g_bytes;

static void generation(uint64_t seed, int depth) {
  EXPECT_FILLED(g_p, g_bytes, seed);
  /* Half of it new, a quarter of it cold at the time of the fork. */
  cold_fill(g_p, g_bytes / 2, seed + 1);
  if (depth == kDepth) return;
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    EXPECT_FILLED(g_p, g_bytes / 2, seed + 1);
    EXPECT_FILLED_FROM(g_p + g_bytes / 2, g_bytes / 2, seed, g_bytes / 2);
    cold_fill(g_p, g_bytes, seed + 10);
    generation(seed + 10, depth + 1);
    _exit(0);
  }
  /* Both sides at once. */
  cold_fill(g_p + g_bytes / 4, g_bytes / 4, seed + 2);
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  EXPECT_FILLED(g_p, g_bytes / 4, seed + 1);
  EXPECT_FILLED(g_p + g_bytes / 4, g_bytes / 4, seed + 2);
  EXPECT_FILLED_FROM(g_p + g_bytes / 2, g_bytes / 2, seed, g_bytes / 2);
}

int main(void) {
  g_bytes = 2 * cold_dram();
  g_p = cold_map(g_bytes);
  cold_fill(g_p, g_bytes, 1);
  generation(1, 0);
  puts("ok");
  return 0;
}
