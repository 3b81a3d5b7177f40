/* Address space reserved without rights and opened piece by piece, as the JVM, Go and jemalloc do, beside cold memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

int main(void) {
  const size_t space = 1024 * MIB;
  char* p = mmap(NULL, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  EXPECT(p != MAP_FAILED);
  char* beside = cold_make(8 * MIB, 99);
  for (unsigned i = 0; i < 24; ++i) {
    char* at = p + (size_t)i * 40 * MIB;
    if (i % 2) EXPECT(mprotect(at, 2 * MIB, PROT_READ | PROT_WRITE) == 0);
    else EXPECT(mmap(at, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    EXPECT_ZERO(at, 2 * MIB);
    cold_fill(at, 2 * MIB, i);
  }
  cold_press();
  for (unsigned i = 0; i < 24; ++i) EXPECT_FILLED(p + (size_t)i * 40 * MIB, 2 * MIB, i);
  for (unsigned i = 0; i < 24; i += 3) {
    char* at = p + (size_t)i * 40 * MIB;
    EXPECT(mmap(at, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == at);
  }
  cold_press();
  for (unsigned i = 0; i < 24; ++i) {
    char* at = p + (size_t)i * 40 * MIB;
    if (i % 3 == 0) {
      EXPECT(mprotect(at, 2 * MIB, PROT_READ | PROT_WRITE) == 0);
      EXPECT_ZERO(at, 2 * MIB);
    } else {
      EXPECT_FILLED(at, 2 * MIB, i);
    }
  }
  EXPECT_FILLED(beside, 8 * MIB, 99);
  EXPECT(munmap(p, space) == 0);
  EXPECT_FILLED(beside, 8 * MIB, 99);
  puts("ok");
  return 0;
}
