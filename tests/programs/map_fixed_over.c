/* Checklist 16: MAP_FIXED over parts of a cold range: anonymous, file, shared and inaccessible maps replace exactly their part. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include "cold.h"

int main(void) {
  const size_t bytes = 24 * MIB;
  char* p = cold_make(bytes, 1);
  const int fd = cold_file_with(4 * MIB, 8, 0);
  const int rw = PROT_READ | PROT_WRITE, fixed = MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE;
  EXPECT(mmap(p + MIB + PAGE, 3 * MIB, rw, fixed, -1, 0) == p + MIB + PAGE);
  EXPECT(mmap(p + 6 * MIB, 17 * PAGE, rw, fixed, -1, 0) == p + 6 * MIB);
  EXPECT(mmap(p + 8 * MIB, 2 * MIB, rw, MAP_FIXED | MAP_PRIVATE, fd, MIB) == p + 8 * MIB);
  EXPECT(mmap(p + 11 * MIB, 2 * MIB, rw, MAP_FIXED | MAP_SHARED, fd, 0) == p + 11 * MIB);
  EXPECT(mmap(p + 14 * MIB, 2 * MIB, PROT_NONE, fixed | MAP_NORESERVE, -1, 0) == p + 14 * MIB);
  EXPECT(mmap(p + 18 * MIB, MIB, rw, MAP_FIXED | MAP_ANONYMOUS | MAP_SHARED, -1, 0) == p + 18 * MIB);
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_FILLED(p, MIB + PAGE, 1);
    EXPECT_ZERO(p + MIB + PAGE, 3 * MIB);
    EXPECT_FILLED_FROM(p + 4 * MIB + PAGE, 2 * MIB - PAGE, 1, 4 * MIB + PAGE);
    EXPECT_ZERO(p + 6 * MIB, 17 * PAGE);
    EXPECT_FILLED_FROM(p + 6 * MIB + 17 * PAGE, 2 * MIB - 17 * PAGE, 1, 6 * MIB + 17 * PAGE);
    EXPECT_FILLED_FROM(p + 8 * MIB, 2 * MIB, 8, MIB);
    EXPECT_FILLED_FROM(p + 10 * MIB, MIB, 1, 10 * MIB);
    EXPECT_FILLED(p + 11 * MIB, 2 * MIB, 8);
    EXPECT_FILLED_FROM(p + 13 * MIB, MIB, 1, 13 * MIB);
    EXPECT_FILLED_FROM(p + 16 * MIB, 2 * MIB, 1, 16 * MIB);
    EXPECT_ZERO(p + 18 * MIB, MIB);
    EXPECT_FILLED_FROM(p + 19 * MIB, 5 * MIB, 1, 19 * MIB);
    cold_press();
  }
  EXPECT(mprotect(p + 14 * MIB, 2 * MIB, rw) == 0);
  EXPECT_ZERO(p + 14 * MIB, 2 * MIB);
  EXPECT(mmap(p, bytes, rw, fixed, -1, 0) == p);
  EXPECT_ZERO(p, bytes);
  puts("ok");
  return 0;
}
