/* Checklist 13: threads whose stacks lie in cold mapped memory run, block in system calls, and find their variables again. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>

#include "cold.h"

enum { kThreads = 8, kStack = 2 << 20, kDepth = 400 };
static sem_t g_in[kThreads], g_out;

static uint64_t descend(int depth, uint64_t seed) {
  uint64_t local[256];
  for (int i = 0; i < 256; ++i) local[i] = cold_word(seed, (size_t)(depth * 256 + i));
  escape(local);
  uint64_t below = 0;
  if (depth < kDepth) {
    below = descend(depth + 1, seed);
  } else {
    sem_post(&g_out);
    while (sem_wait(&g_in[seed]) != 0) continue; /* meanwhile the whole stack goes cold */
  }
  for (int i = 0; i < 256; ++i) EXPECT(local[i] == cold_word(seed, (size_t)(depth * 256 + i)));
  return below * 31 + local[depth % 256];
}

static void* run(void* index) { return (void*)descend(0, (uint64_t)(uintptr_t)index); }

int main(void) {
  EXPECT(sem_init(&g_out, 0, 0) == 0);
  char* stacks = cold_make((size_t)kThreads * kStack, 1);
  pthread_t thread[kThreads];
  for (size_t i = 0; i < kThreads; ++i) {
    EXPECT(sem_init(&g_in[i], 0, 0) == 0);
    pthread_attr_t attributes;
    EXPECT(pthread_attr_init(&attributes) == 0);
    EXPECT(pthread_attr_setstack(&attributes, stacks + i * kStack, kStack) == 0);
    EXPECT(pthread_create(&thread[i], &attributes, run, (void*)i) == 0);
  }
  for (int i = 0; i < kThreads; ++i) EXPECT(sem_wait(&g_out) == 0);
  cold_evict(stacks, (size_t)kThreads * kStack);
  for (size_t i = 0; i < kThreads; ++i) {
    void* result = NULL;
    EXPECT(sem_post(&g_in[i]) == 0 && pthread_join(thread[i], &result) == 0);
    printf("%016llx\n", (unsigned long long)(uintptr_t)result);
  }
  puts("ok");
  return 0;
}
