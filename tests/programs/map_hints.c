/* Checklist 15: every other advice on cold sub-ranges has the kernel's result and changes no byte. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

int main(void) {
  static const struct {
    int advice;
    const char* name;
  } kHints[] = {{MADV_NORMAL, "NORMAL"}, {MADV_RANDOM, "RANDOM"}, {MADV_SEQUENTIAL, "SEQUENTIAL"}, {MADV_WILLNEED, "WILLNEED"},
                {MADV_HUGEPAGE, "HUGEPAGE"}, {MADV_NOHUGEPAGE, "NOHUGEPAGE"}, {MADV_DONTDUMP, "DONTDUMP"}, {MADV_DODUMP, "DODUMP"},
                {MADV_COLD, "COLD"}, {MADV_POPULATE_READ, "POPULATE_READ"}, {MADV_POPULATE_WRITE, "POPULATE_WRITE"},
                {MADV_DOFORK, "DOFORK"}, {MADV_KEEPONFORK, "KEEPONFORK"}, {MADV_REMOVE, "REMOVE"}, {9999, "unknown"}};
  const size_t bytes = 12 * MIB;
  char* p = cold_make(bytes, 1);
  for (size_t i = 0; i < sizeof kHints / sizeof kHints[0]; ++i) {
    cold_evict(p, bytes);
    const int r = madvise(p + MIB + 3 * PAGE, 5 * MIB, kHints[i].advice);
    printf("%s: %s\n", kHints[i].name, r == 0 ? "done" : strerror(errno));
    EXPECT_FILLED(p, bytes, 1);
  }
  EXPECT(madvise(p + 1, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
  EXPECT(madvise(p, 0, MADV_DONTNEED) == 0);
  /* Over a hole: an error, and everything but the hole is gone. */
  EXPECT(munmap(p + 4 * MIB, MIB) == 0);
  cold_evict(p, 4 * MIB);
  errno = 0;
  EXPECT(madvise(p + 3 * MIB, 3 * MIB, MADV_DONTNEED) == -1 && errno == ENOMEM);
  EXPECT_FILLED(p, 3 * MIB, 1);
  EXPECT_ZERO(p + 3 * MIB, MIB);
  EXPECT_ZERO(p + 5 * MIB, MIB);
  EXPECT_FILLED_FROM(p + 6 * MIB, 6 * MIB, 1, 6 * MIB);
  puts("ok");
  return 0;
}
