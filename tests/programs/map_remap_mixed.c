/* Checklist 14: mremap of ranges that are several mappings (protected parts, file maps, holes) gives what the kernel gives. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>

#include "cold.h"

static void report(const char* what, const void* result) {
  printf("%s: %s\n", what, result == MAP_FAILED ? strerror(errno) : "moved");
}

int main(void) {
  const size_t bytes = 12 * MIB;
  char* place = cold_map(64 * MIB);

  /* A part without rights in the middle. */
  char* p = cold_make(bytes, 1);
  EXPECT(mprotect(p + 4 * MIB, 4 * MIB, PROT_NONE) == 0);
  char* r = mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  report("protected part, move", r);
  char* now = r == MAP_FAILED ? p : r;
  EXPECT(mprotect(now + 4 * MIB, 4 * MIB, PROT_READ | PROT_WRITE) == 0);
  EXPECT_FILLED(now, bytes, 1);

  /* The same, growing. */
  p = cold_make(bytes, 2);
  EXPECT(mprotect(p + 4 * MIB, 4 * MIB, PROT_READ) == 0);
  r = mremap(p, bytes, bytes + 4 * MIB, MREMAP_MAYMOVE);
  report("protected part, grow", r);
  now = r == MAP_FAILED ? p : r;
  EXPECT_FILLED(now, bytes, 2);

  /* The whole range protected: one mapping, so it moves and stays protected. */
  p = cold_make(bytes, 3);
  EXPECT(mprotect(p, bytes, PROT_NONE) == 0);
  r = mremap(p, bytes, bytes + MIB, MREMAP_MAYMOVE);
  report("protected whole, grow", r);
  now = r == MAP_FAILED ? p : r;
  EXPECT(mprotect(now, bytes, PROT_READ) == 0);
  EXPECT_FILLED(now, bytes, 3);

  /* A hole in it, and an end beyond it. */
  p = cold_make(bytes, 4);
  EXPECT(munmap(p + 4 * MIB, MIB) == 0);
  r = mremap(p, bytes, bytes + MIB, MREMAP_MAYMOVE);
  report("with a hole, grow", r);
  EXPECT(r == MAP_FAILED);
  EXPECT_FILLED(p, 4 * MIB, 4);
  EXPECT_FILLED_FROM(p + 5 * MIB, 7 * MIB, 4, 5 * MIB);

  /* A private file map beside managed memory. */
  const int fd = cold_file_with(MIB, 9, 0);
  p = cold_make(bytes, 5);
  EXPECT(mmap(p + 4 * MIB, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == p + 4 * MIB);
  EXPECT_FILLED(p + 4 * MIB, MIB, 9);
  r = mremap(p, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, place + 32 * MIB);
  report("before the file map, move", r);
  EXPECT(r == place + 32 * MIB);
  EXPECT_FILLED(r, 4 * MIB, 5);
  EXPECT_FILLED_FROM(p + 5 * MIB, 7 * MIB, 5, 5 * MIB);
  puts("ok");
  return 0;
}
