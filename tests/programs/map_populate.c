/* MAP_POPULATE, and MADV_POPULATE_WRITE, of more memory than the budget: zeros everywhere, and usable. */
/* run: cold */
#define _GNU_SOURCE
#include "cold.h"

int main(void) {
  const size_t bytes = 3 * cold_dram();
  char* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  EXPECT(p != MAP_FAILED);
  EXPECT_ZERO(p, bytes);
  cold_fill(p, bytes, 1);
  EXPECT_FILLED(p, bytes, 1);
  char* q = cold_map(bytes);
  EXPECT(madvise(q, bytes, MADV_POPULATE_WRITE) == 0);
  EXPECT_ZERO(q, bytes);
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
