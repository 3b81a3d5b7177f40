/* Checklist 13: futex wait, wake and requeue on cold words, and a mutex, a condition and a semaphore in cold memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>

#include "cold.h"

struct Shared {
  _Alignas(4096) uint32_t word;
  _Alignas(4096) uint32_t second;
  _Alignas(4096) pthread_mutex_t mutex;
  _Alignas(4096) pthread_cond_t changed;
  _Alignas(4096) sem_t semaphore;
  _Alignas(4096) int turn;
  _Alignas(4096) struct timespec patience;
};
static struct Shared* g;

static long futex(uint32_t* word, int what, uint32_t value, void* fourth, uint32_t* second, uint32_t last) {
  return syscall(SYS_futex, word, what, value, fourth, second, last);
}

static void* waiter(void* unused) {
  (void)unused;
  EXPECT(sem_post(&g->semaphore) == 0);
  while (__atomic_load_n(&g->word, __ATOMIC_ACQUIRE) == 1)
    if (futex(&g->word, FUTEX_WAIT, 1, NULL, NULL, 0) == -1) EXPECT(errno == EAGAIN || errno == EINTR);
  EXPECT(pthread_mutex_lock(&g->mutex) == 0);
  while (g->turn < 2) {
    if (g->turn == 0) g->turn = 1, pthread_cond_signal(&g->changed);
    pthread_cond_wait(&g->changed, &g->mutex);
  }
  EXPECT(pthread_mutex_unlock(&g->mutex) == 0);
  return NULL;
}

int main(void) {
  g = (struct Shared*)cold_map(MIB);
  EXPECT(pthread_mutex_init(&g->mutex, NULL) == 0 && pthread_cond_init(&g->changed, NULL) == 0);
  EXPECT(sem_init(&g->semaphore, 0, 0) == 0);
  g->word = 7;
  g->patience = (struct timespec){0, 1000000};
  cold_evict(g, sizeof *g);
  EXPECT(futex(&g->word, FUTEX_WAIT, 6, NULL, NULL, 0) == -1 && errno == EAGAIN);
  cold_evict(g, sizeof *g);
  EXPECT(futex(&g->word, FUTEX_WAIT, 7, &g->patience, NULL, 0) == -1 && errno == ETIMEDOUT);
  cold_evict(g, sizeof *g);
  EXPECT(futex(&g->word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
  cold_evict(g, sizeof *g);
  EXPECT(futex(&g->word, FUTEX_CMP_REQUEUE, 1, (void*)1, &g->second, 6) == -1 && errno == EAGAIN);
  cold_evict(g, sizeof *g);
  EXPECT(futex(&g->word, FUTEX_WAKE_OP, 1, (void*)1, &g->second, FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 0)) == 0);
  EXPECT(g->second == 5);

  g->word = 1;
  pthread_t thread;
  EXPECT(pthread_create(&thread, NULL, waiter, NULL) == 0);
  EXPECT(sem_wait(&g->semaphore) == 0);
  for (int i = 0; i < 3; ++i) cold_press(); /* pages go cold under a thread that sleeps on them */
  __atomic_store_n(&g->word, 2, __ATOMIC_RELEASE);
  cold_press();
  EXPECT(futex(&g->word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
  EXPECT(pthread_mutex_lock(&g->mutex) == 0);
  while (g->turn == 0) EXPECT(pthread_cond_wait(&g->changed, &g->mutex) == 0);
  cold_press();
  g->turn = 2;
  cold_press();
  EXPECT(pthread_cond_broadcast(&g->changed) == 0 && pthread_mutex_unlock(&g->mutex) == 0);
  EXPECT(pthread_join(thread, NULL) == 0);
  puts("ok");
  return 0;
}
