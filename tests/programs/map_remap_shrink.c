/* Checklist 14: mremap shrinks a cold range; what is cut off is unmapped, and zeros when it is grown again. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

int main(void) {
  size_t bytes = 5000 * PAGE;
  char* p = cold_make(bytes, 1);
  for (size_t cut = 1; cut < 2000; cut = cut * 3 + 1) {
    const size_t less = bytes - cut * PAGE;
    EXPECT(mremap(p, bytes, less, 0) == p);
    EXPECT(madvise(p + less, PAGE, MADV_NORMAL) == -1 && errno == ENOMEM);
    bytes = less;
    cold_press();
  }
  EXPECT_FILLED(p, bytes, 1);
  cold_evict(p, bytes);
  char* q = mremap(p, bytes, bytes + 2 * MIB, MREMAP_MAYMOVE);
  EXPECT(q != MAP_FAILED);
  EXPECT_FILLED(q, bytes, 1);
  EXPECT_ZERO(q + bytes, 2 * MIB);
  EXPECT(mremap(q, bytes + 2 * MIB, PAGE, 0) == q);
  EXPECT_FILLED(q, PAGE, 1);
  EXPECT(munmap(q, PAGE) == 0);
  puts("ok");
  return 0;
}
