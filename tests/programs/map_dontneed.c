/* Checklist 15: MADV_DONTNEED on parts of a range gives zeros there, though the pages are in the store or on their way. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

enum { kPages = 16 * 256 };

int main(void) {
  const size_t bytes = kPages * PAGE;
  char* p = cold_map(bytes);
  for (unsigned round = 0; round < 3; ++round) {
    cold_fill(p, bytes, round);
    if (round == 0) cold_evict(p, bytes);
    if (round == 1) cold_press(); /* cold, limbo and resident side by side: half is touched again */
    for (size_t i = 0; round == 1 && i < kPages; i += 2) (void)*(volatile char*)(p + i * PAGE);
    /* Runs of growing length, three pages apart. */
    char gone[kPages] = {0};
    for (size_t at = 1, run = 1; at + run < kPages; at += run + 3, ++run) {
      EXPECT(madvise(p + at * PAGE, run * PAGE, MADV_DONTNEED) == 0);
      memset(gone + at, 1, run);
    }
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t i = 0; i < kPages; ++i)
        if (gone[i]) EXPECT_ZERO(p + i * PAGE, PAGE);
        else EXPECT_FILLED_FROM(p + i * PAGE, PAGE, round, i * PAGE);
      cold_evict(p, bytes);
    }
  }
  /* All of it, cold. */
  EXPECT(madvise(p, bytes, MADV_DONTNEED) == 0);
  EXPECT_ZERO(p, bytes);
  puts("ok");
  return 0;
}
