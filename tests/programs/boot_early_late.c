/* Checklist 8: malloc in constructors, in atexit handlers and in destructors, small and large. */
#include "expect.h"

static char* g_small;
static char* g_large;

static void use(const char* when) {
  char* p = malloc(100);
  char* q = malloc(3 << 20);
  EXPECT(p && q);
  memset(p, 1, 100);
  memset(q, 1, 3 << 20);
  p = realloc(p, 200000);
  EXPECT(p && p[99] == 1);
  free(p);
  free(q);
  printf("%s\n", when);
  fflush(stdout);
}

__attribute__((constructor(102))) static void early(void) {
  g_small = malloc(50);
  g_large = calloc(1, 5 << 20);
  EXPECT(g_small && g_large);
  g_large[(5 << 20) - 1] = 9;
  use("constructor");
}

__attribute__((destructor(102))) static void late(void) { use("destructor"); }

static void at_exit(void) { use("atexit"); }

int main(void) {
  EXPECT(atexit(at_exit) == 0);
  EXPECT(g_large[(5 << 20) - 1] == 9);
  use("main");
  grow_process();
  use("grown");
  g_small = realloc(g_small, 5000);
  g_large = realloc(g_large, 9 << 20);
  EXPECT(g_large[(5 << 20) - 1] == 9);
  free(g_small);
  free(g_large);
  return 0;
}
