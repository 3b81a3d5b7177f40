/* Checklist 14: mremap grows a cold range, in place and by moving it: old contents, then zeros. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

/* An odd number of pages: neither begin nor end need be those of an extent. */
enum { kPages = 2500 };

int main(void) {
  const size_t bytes = kPages * PAGE;
  for (int round = 0; round < 4; ++round) {
    char* p = cold_make(bytes, 1);
    /* A neighbour behind it, so that growing has to move it. */
    if (round % 2) EXPECT(mmap(p + bytes, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) || 1);
    const size_t more = bytes + (round < 2 ? 3 * MIB : 1000 * PAGE);
    p = mremap(p, bytes, more, MREMAP_MAYMOVE);
    EXPECT(p != MAP_FAILED);
    EXPECT_FILLED(p, bytes, 1);
    EXPECT_ZERO(p + bytes, more - bytes);
    cold_fill(p, more, 2);
    cold_evict(p, more);
    EXPECT_FILLED(p, more, 2);
    /* Step by step, as realloc of a growing vector does. */
    size_t size = more;
    for (int step = 0; step < 20; ++step) {
      p = mremap(p, size, size + 37 * PAGE, MREMAP_MAYMOVE);
      EXPECT(p != MAP_FAILED);
      EXPECT_ZERO(p + size, 37 * PAGE);
      cold_fill(p + size, 37 * PAGE, 100u + (unsigned)step);
      size += 37 * PAGE;
      if (step % 5 == 0) cold_press();
    }
    EXPECT_FILLED(p, more, 2);
    for (unsigned step = 0; step < 20; ++step) EXPECT_FILLED(p + more + step * 37 * PAGE, 37 * PAGE, 100 + step);
    EXPECT(munmap(p, size) == 0);
  }
  puts("ok");
  return 0;
}
