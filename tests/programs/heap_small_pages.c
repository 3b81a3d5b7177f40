/* A program with a small heap and many threads holds about what it uses: not a huge page for each arena. */
/* run: dram=1G */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

enum { kThreads = 16, kBlock = 1024, kEach = 256 << 10, kBefore = 60 << 20, kMost = 32 << 20 };
static pthread_barrier_t g_used, g_measured;

static void use(size_t bytes) {
  for (size_t n = 0; n < bytes / kBlock; ++n) {
    char* block = (char*)malloc(kBlock); /* kept */
    EXPECT(block != NULL);
    memset(block, 1, kBlock);
  }
}

static size_t resident(void) {
  char text[128];
  FILE* f = fopen("/proc/self/statm", "r");
  EXPECT(f && fgets(text, sizeof text, f));
  fclose(f);
  unsigned long pages = 0;
  EXPECT(sscanf(text, "%*u %lu", &pages) == 1);
  return pages * (size_t)getpagesize();
}

static void* run(void* unused) {
  (void)unused;
  use(kEach);
  pthread_barrier_wait(&g_used);
  pthread_barrier_wait(&g_measured);
  return NULL;
}

int main(void) {
  char mode[64] = "";
  FILE* f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  const int always = f && fgets(mode, sizeof mode, f) && strstr(mode, "[always]");
  if (f) fclose(f);
  use(kBefore); /* the heap is ours since 48 MiB */
  EXPECT(pthread_barrier_init(&g_used, NULL, kThreads + 1) == 0);
  EXPECT(pthread_barrier_init(&g_measured, NULL, kThreads + 1) == 0);
  const size_t before = resident();
  pthread_t thread[kThreads];
  for (int i = 0; i < kThreads; ++i) EXPECT(pthread_create(&thread[i], NULL, run, NULL) == 0);
  pthread_barrier_wait(&g_used);
  const size_t more = resident() - before;
  pthread_barrier_wait(&g_measured);
  for (int i = 0; i < kThreads; ++i) EXPECT(pthread_join(thread[i], NULL) == 0);
  /* Where all memory gets huge pages, ours does, too. */
  if (!always && more > kMost) {
    fprintf(stderr, "%zu KiB more for %d KiB\n", more >> 10, kThreads * kEach >> 10);
    return 1;
  }
  puts("ok");
  return 0;
}
