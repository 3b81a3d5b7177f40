/* mincore says of cold pages that they are resident, of untouched and discarded ones that they are not, of holes ENOMEM. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

enum { kPages = 8 * 256 };

static size_t count(char* p) {
  static unsigned char vector[kPages];
  memset(vector, 0, sizeof vector);
  EXPECT(mincore(p, kPages * PAGE, vector) == 0);
  size_t n = 0;
  for (size_t i = 0; i < kPages; ++i) n += vector[i] & 1;
  return n;
}

int main(void) {
  const size_t bytes = kPages * PAGE;
  char* p = cold_map(bytes);
  EXPECT(madvise(p, bytes, MADV_NOHUGEPAGE) == 0);
  printf("untouched %zu\n", count(p));
  cold_fill(p, bytes, 1);
  printf("filled %zu\n", count(p));
  cold_evict(p, bytes);
  printf("cold %zu\n", count(p));
  EXPECT(madvise(p + 100 * PAGE, 1000 * PAGE, MADV_DONTNEED) == 0);
  printf("discarded %zu\n", count(p));
  EXPECT_FILLED(p, 100 * PAGE, 1);
  unsigned char* cold_vector = (unsigned char*)cold_map(MIB);
  memset(cold_vector, 9, MIB);
  cold_evict(cold_vector, MIB);
  EXPECT(mincore(p, bytes, cold_vector) == 0 && (cold_vector[0] & 1) && cold_vector[kPages] == 9);
  EXPECT(munmap(p + MIB, PAGE) == 0);
  EXPECT(mincore(p, bytes, cold_vector) == -1 && errno == ENOMEM);
  puts("ok");
  return 0;
}
