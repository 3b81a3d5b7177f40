/* Checklist 16: unmapping parts of a cold range leaves the rest as it was; maps that take the holes' place are new. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

enum { kPages = 20 * 256 };

int main(void) {
  const size_t bytes = kPages * PAGE;
  char* p = cold_make(bytes, 1);
  char hole[kPages] = {0};
  for (size_t at = 3, run = 1; at + run < kPages; at += run + 61, run = run * 2 % 701 + 1) {
    EXPECT(munmap(p + at * PAGE, run * PAGE) == 0);
    memset(hole + at, 1, run);
  }
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t i = 0; i < kPages; ++i)
      if (hole[i]) EXPECT(madvise(p + i * PAGE, PAGE, MADV_NORMAL) == -1 && errno == ENOMEM);
      else EXPECT_FILLED_FROM(p + i * PAGE, PAGE, 1, i * PAGE);
    cold_press();
  }
  /* New maps in the holes begin as zeros, whatever the store still has of their forerunners. */
  for (size_t i = 0; i < kPages; ++i)
    if (hole[i])
      EXPECT(mmap(p + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
             p + i * PAGE);
  for (size_t i = 0; i < kPages; ++i)
    if (hole[i]) EXPECT_ZERO(p + i * PAGE, PAGE);
  cold_fill(p, bytes, 2);
  cold_press();
  EXPECT_FILLED(p, bytes, 2);
  EXPECT(munmap(p, bytes) == 0);
  /* Whole ranges come and go at the same place. */
  for (unsigned round = 0; round < 30; ++round) {
    char* q = mmap(p, bytes / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT(q == p);
    EXPECT_ZERO(q, bytes / 4);
    cold_fill(q, bytes / 4, round);
    if (round % 6 == 0) cold_press();
    EXPECT_FILLED(q, bytes / 4, round);
    if (round % 2) EXPECT(munmap(q, bytes / 4) == 0);
  }
  puts("ok");
  return 0;
}
