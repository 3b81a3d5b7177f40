/* Checklist 14: mremap moves cold ranges and parts of them to fixed places: free ones, managed ones, at odd distances. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

static void move(size_t from_page, size_t pages, size_t to_page, int cold) {
  const size_t area = 24 * MIB;
  char* p = cold_map(area);
  char* q = cold_map(area);
  cold_fill(p, area, 1);
  cold_fill(q, area, 2);
  if (cold) {
    cold_evict(p, area);
    cold_evict(q, area);
  }
  char* from = p + from_page * PAGE;
  char* to = q + to_page * PAGE;
  const size_t bytes = pages * PAGE;
  EXPECT(mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
  EXPECT(madvise(from, PAGE, MADV_NORMAL) == -1 && errno == ENOMEM);
  EXPECT_FILLED_FROM(to, bytes, 1, from_page * PAGE);
  EXPECT_FILLED(q, to_page * PAGE, 2);
  EXPECT_FILLED_FROM(to + bytes, area - to_page * PAGE - bytes, 2, to_page * PAGE + bytes);
  EXPECT_FILLED(p, from_page * PAGE, 1);
  EXPECT_FILLED_FROM(from + bytes, area - from_page * PAGE - bytes, 1, from_page * PAGE + bytes);
  cold_fill(to, bytes, 3);
  cold_press();
  EXPECT_FILLED(to, bytes, 3);
  EXPECT(munmap(p, area) == 0 && munmap(q, area) == 0);
}

int main(void) {
  move(0, 6144, 0, 1);
  move(0, 512, 1024, 1);
  move(512, 1024, 513, 1);
  move(100, 300, 700, 1);
  move(1, 1, 2, 1);
  move(777, 2222, 1289, 1);
  move(777, 2222, 1290, 0);
  /* Over itself: refused. */
  char* p = cold_make(8 * MIB, 5);
  EXPECT(mremap(p, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + MIB) == MAP_FAILED && errno == EINVAL);
  EXPECT_FILLED(p, 8 * MIB, 5);
  puts("ok");
  return 0;
}
