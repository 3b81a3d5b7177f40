/* Checklist 32: RLIMIT_AS set while much is cold: maps fail with ENOMEM, cold pages come back, and freed space is usable. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>

#include "cold.h"

enum { kMaps = 12 };

int main(void) {
  char* p[kMaps];
  for (unsigned i = 0; i < kMaps; ++i) {
    p[i] = cold_map(8 * MIB);
    cold_fill(p[i], 8 * MIB, i);
  }
  cold_evict(p[0], 8 * MIB);
  size_t size = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  EXPECT(statm && fscanf(statm, "%zu", &size) == 1 && fclose(statm) == 0);
  const struct rlimit limit = {size * PAGE + 4 * MIB, size * PAGE + 4 * MIB};
  EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
  errno = 0;
  EXPECT(mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  errno = 0;
  EXPECT(mremap(p[0], 8 * MIB, 64 * MIB, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
  for (int round = 0; round < 2; ++round)
    for (unsigned i = 0; i < kMaps; ++i) EXPECT_FILLED(p[i], 8 * MIB, i);
  EXPECT(munmap(p[3], 8 * MIB) == 0);
  p[3] = cold_map(7 * MIB);
  EXPECT_ZERO(p[3], 7 * MIB);
  for (unsigned i = 4; i < kMaps; ++i) EXPECT_FILLED(p[i], 8 * MIB, i);
  puts("ok");
  return 0;
}
