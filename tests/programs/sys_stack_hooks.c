/* Checklist 13: mapping calls and forks made on stacks that lie in managed memory, while everything that can leaves DRAM. */
/* run: dram=32M cold timeout=120 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "cold.h"

enum { kThreads = 4, kStack = 1 << 20, kRounds = 400 };
static atomic_int g_running = kThreads;

/* Deep enough that the caller's frames are on other pages than the call's own. */
static __attribute__((noinline)) void map_and_unmap(int depth) {
  char local[3 * PAGE];
  memset(local, depth, sizeof local);
  escape(local);
  if (depth) {
    map_and_unmap(depth - 1);
  } else {
    char* p = cold_map(2 * MIB);
    p[0] = p[2 * MIB - 1] = 1;
    EXPECT(mprotect(p, MIB, PROT_READ) == 0 && madvise(p, MIB, MADV_DONTNEED) == 0);
    EXPECT(munmap(p, 2 * MIB) == 0);
  }
  for (size_t i = 0; i < sizeof local; i += PAGE) EXPECT(local[i] == depth);
}

static void* run(void* unused) {
  for (int i = 0; i < kRounds; ++i) map_and_unmap(8);
  atomic_fetch_sub(&g_running, 1);
  return unused;
}

static void* fork_on_it(void* unused) {
  for (int i = 0; i < 5; ++i) {
    const pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
      map_and_unmap(8);
      _exit(7);
    }
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  }
  return unused;
}

int main(void) {
  char* stacks = cold_make((size_t)(kThreads + 1) * kStack, 1);
  pthread_t thread[kThreads + 1];
  for (size_t i = 0; i <= kThreads; ++i) {
    pthread_attr_t attributes;
    EXPECT(pthread_attr_init(&attributes) == 0);
    EXPECT(pthread_attr_setstack(&attributes, stacks + i * kStack, kStack) == 0);
    EXPECT(pthread_create(&thread[i], &attributes, i < kThreads ? run : fork_on_it, NULL) == 0);
  }
  while (atomic_load(&g_running)) cold_press();
  for (int i = 0; i <= kThreads; ++i) EXPECT(pthread_join(thread[i], NULL) == 0);
  puts("ok");
  return 0;
}
