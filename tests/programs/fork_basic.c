/* Checklist 19, the simple case: parent, child and grandchild see the same bytes, allocate, resize and free on their own. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

enum { kBlocks = 500, kLarge = 4 << 20 };
static char* g_small[kBlocks];
static char* g_large;

static void check(int mark) {
  for (int i = 0; i < kBlocks; ++i)
    for (int at = 0; at < 1000; ++at) EXPECT(g_small[i][at] == (char)(i + mark));
  for (int at = 0; at < kLarge; ++at) EXPECT(g_large[at] == (char)(at + mark));
}
static void write_all(int mark) {
  for (int i = 0; i < kBlocks; ++i) memset(g_small[i], i + mark, 1000);
  for (int at = 0; at < kLarge; ++at) g_large[at] = (char)(at + mark);
}

static int generation(int depth) {
  check(depth);
  write_all(depth + 1);
  for (int i = 0; i < kBlocks; i += 2) {
    g_small[i] = realloc(g_small[i], 3000);
    EXPECT(g_small[i]);
  }
  check(depth + 1);
  if (depth < 3) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) _exit(generation(depth + 1));
    int status = 0;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  }
  check(depth + 1);
  return 0;
}

static void all(void) {
  for (int i = 0; i < kBlocks; ++i) EXPECT((g_small[i] = malloc(1000)));
  EXPECT((g_large = malloc(kLarge)));
  write_all(0);
  EXPECT(generation(0) == 0);
  for (int i = 0; i < kBlocks; ++i) free(g_small[i]);
  free(g_large);
}

int main(void) {
  all();
  grow_process();
  all();
  puts("ok");
  return 0;
}
