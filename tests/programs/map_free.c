/* Checklist 15: after MADV_FREE a page holds its old contents or zeros, never anything else, until it is written again. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

enum { kPages = 16 * 256 };

int main(void) {
  const size_t bytes = kPages * PAGE;
  char* p = cold_make(bytes, 1);
  for (size_t i = 0; i < kPages; i += 4) EXPECT(madvise(p + i * PAGE, 2 * PAGE, MADV_FREE) == 0);
  for (int pass = 0; pass < 3; ++pass) {
    for (size_t i = 0; i < kPages; ++i) {
      const char* page = p + i * PAGE;
      if (i % 4 < 2 && *(const uint64_t*)page == 0) EXPECT_ZERO(page, PAGE);
      else EXPECT_FILLED_FROM(page, PAGE, 1, i * PAGE);
    }
    cold_press();
  }
  /* Written again, it stays. */
  for (size_t i = 0; i < kPages; i += 4) EXPECT(madvise(p + i * PAGE, PAGE, MADV_FREE) == 0);
  for (size_t i = 0; i < kPages; i += 4) cold_fill(p + i * PAGE, PAGE, 1000 + i);
  cold_evict(p, bytes);
  for (size_t i = 0; i < kPages; i += 4) EXPECT_FILLED(p + i * PAGE, PAGE, 1000 + i);
  puts("ok");
  return 0;
}
