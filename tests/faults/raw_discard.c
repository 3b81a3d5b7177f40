/* Pages dropped past the library: madvise by way of syscall(2), and by process_madvise(2) on itself (any advice since Linux
 * 6.13). What was dropped reads as zeros, cold or not, and what is around it keeps its contents. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "cold.h"

enum { kBytes = 8 << 20, kFrom = (2 << 20) + 5 * 4096, kTo = (5 << 20) + 3 * 4096 };

static long by_syscall(void* at, size_t bytes, int advice) { return syscall(SYS_madvise, at, bytes, advice); }

static long by_process_madvise(void* at, size_t bytes, int advice) {
  const struct iovec range = {at, bytes};
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  EXPECT(self >= 0);
  const long n = syscall(SYS_process_madvise, self, &range, 1, advice, 0);
  close(self);
  return n < 0 ? n : n == (long)bytes ? 0 : 1;
}

static long by_libc(void* at, size_t bytes, int advice) {
  const struct iovec range = {at, bytes};
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  EXPECT(self >= 0);
  const long n = process_madvise(self, &range, 1, advice, 0);
  close(self);
  return n < 0 ? n : n == (long)bytes ? 0 : 1;
}

static size_t zeros(const char* p, size_t from, size_t to) {
  size_t pages = 0;
  for (size_t at = from; at < to; at += PAGE) {
    size_t k = 0;
    while (k < PAGE && p[at + k] == 0) ++k;
    pages += k == PAGE;
  }
  return pages;
}

static void drop(const char* how, long (*advise)(void*, size_t, int), int cold, int advice, int drops) {
  char* p = cold_map(kBytes);
  cold_fill(p, kBytes, 7);
  if (cold) cold_evict(p, kBytes);
  const long r = advise(p + kFrom, kTo - kFrom, advice);
  const int error = r < 0 ? errno : 0;
  const size_t dropped = zeros(p, kFrom, kTo);
  const size_t pages = (kTo - kFrom) / PAGE;
  printf("%s, %s, advice %d: %ld (%s), ", how, cold ? "cold" : "in DRAM", advice, r, strerror(error));
  printf("%s\n", dropped == pages ? "all zeros" : dropped ? "some zeros" : "no zeros");
  if (dropped == 0) EXPECT_FILLED_FROM(p + kFrom, kTo - kFrom, 7, kFrom);
  if (r == 0 && drops && dropped != pages) fprintf(stderr, "%zu of %zu pages were dropped\n", dropped, pages);
  EXPECT_FILLED(p, kFrom, 7);
  EXPECT_FILLED_FROM(p + kTo, kBytes - kTo, 7, kTo);
  /* Used again, it is like any other memory. */
  cold_fill(p, kBytes, 8);
  if (cold) cold_evict(p, kBytes);
  EXPECT_FILLED(p, kBytes, 8);
  EXPECT(munmap(p, kBytes) == 0);
}

int main(int argc, char** argv) {
  const char* which = argc > 1 ? argv[1] : "";
  if (!strcmp(which, "syscall")) {
    for (int cold = 0; cold < 2; ++cold) drop("syscall", by_syscall, cold, MADV_DONTNEED, 1);
  } else if (!strcmp(which, "libc")) {
    for (int cold = 0; cold < 2; ++cold) drop("process_madvise", by_libc, cold, MADV_DONTNEED, 1);
  } else {
    EXPECT(!strcmp(which, "hints"));
    for (int cold = 0; cold < 2; ++cold)
      for (int advice = MADV_COLD; advice <= MADV_PAGEOUT; ++advice) {
        drop("syscall", by_syscall, cold, advice, 0);
        drop("process_madvise by syscall", by_process_madvise, cold, advice, 0);
        drop("process_madvise", by_libc, cold, advice, 0);
      }
  }
  return 0;
}
