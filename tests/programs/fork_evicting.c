/* Checklist 19: forks while another thread keeps pages moving in and out; every child finds a consistent copy. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "cold.h"

static atomic_int g_stop;
static char* g_churn;
enum { kStill = 16 << 20, kChurn = 32 << 20 };

/* Each page always holds its number in its first word and a version in two others, equal but for the moment of writing. */
static void* churn(void* unused) {
  (void)unused;
  for (uint64_t version = 1; !g_stop; ++version)
    for (size_t at = 0; at < kChurn && !g_stop; at += PAGE) {
      uint64_t* page = (uint64_t*)(g_churn + at);
      EXPECT(page[0] == at);
      page[1] = version;
      page[511] = version;
    }
  return NULL;
}

int main(void) {
  char* still = cold_map(kStill);
  cold_fill(still, kStill, 1);
  g_churn = cold_map(kChurn);
  for (size_t at = 0; at < kChurn; at += PAGE) *(uint64_t*)(g_churn + at) = at;
  pthread_t thread;
  EXPECT(pthread_create(&thread, NULL, churn, NULL) == 0);
  for (unsigned i = 0; i < 10; ++i) {
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
      EXPECT_FILLED(still, kStill, 1);
      int torn = 0;
      for (size_t at = 0; at < kChurn; at += PAGE) {
        const uint64_t* page = (const uint64_t*)(g_churn + at);
        EXPECT(page[0] == at);
        torn += page[1] != page[511];
        EXPECT_ZERO(page + 2, 509 * 8);
      }
      EXPECT(torn <= 1); /* the one that was being written */
      cold_fill(still, kStill, i);
      EXPECT_FILLED(still, kStill, i);
      _exit(0);
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  }
  g_stop = 1;
  EXPECT(pthread_join(thread, NULL) == 0);
  EXPECT_FILLED(still, kStill, 1);
  puts("ok");
  return 0;
}
