/* Checklist 3: a process whose only growth is mremap (realloc of one large object) outgrows its budget and is paged then. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

int main(void) {
  size_t bytes = 2 * MIB;
  char* p = cold_map(bytes);
  for (; bytes < 3 * cold_dram(); bytes += 2 * MIB) {
    EXPECT((p = mremap(p, bytes, bytes + 2 * MIB, MREMAP_MAYMOVE)) != MAP_FAILED);
    cold_fill(p + bytes, 2 * MIB, bytes / MIB);
  }
  for (size_t at = 2 * MIB; at < bytes; at += 2 * MIB) EXPECT_FILLED(p + at, 2 * MIB, at / MIB);

  /* The same while a part is locked: the kernel fills what it grows by. */
  char* q = cold_map(4 * MIB);
  cold_fill(q, 4 * MIB, 1);
  EXPECT(mlock(q, 4 * MIB) == 0);
  EXPECT((q = mremap(q, 4 * MIB, 8 * MIB, MREMAP_MAYMOVE)) != MAP_FAILED);
  EXPECT_FILLED(q, 4 * MIB, 1);
  EXPECT_ZERO(q + 4 * MIB, 4 * MIB);
  puts("ok");
  return 0;
}
