/* Checklist 14: MREMAP_DONTUNMAP moves cold pages away and leaves a mapping of zeros; old size 0 is refused for private maps. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 16 * MIB;
  char* p = cold_make(bytes, 1);
  char* q = mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  EXPECT(q != MAP_FAILED && q != p);
  EXPECT_ZERO(p, bytes);
  EXPECT_FILLED(q, bytes, 1);
  cold_fill(p, bytes, 2);
  cold_press();
  EXPECT_FILLED(p, bytes, 2);
  EXPECT_FILLED(q, bytes, 1);
  char* place = cold_make(bytes, 3);
  cold_press();
  EXPECT(mremap(q, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place) == place);
  EXPECT_FILLED(place, bytes, 1);
  EXPECT_ZERO(q, bytes);
  errno = 0;
  EXPECT(mremap(place, 0, bytes, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
  EXPECT_FILLED(place, bytes, 1);
  puts("ok");
  return 0;
}
