/* Checklist 18: mlockall brings everything in, and what is mapped later is resident at once; munlockall lets it all go. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/resource.h>

#include "cold.h"

int main(void) {
  const struct rlimit plenty = {RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_MEMLOCK, &plenty) != 0 && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    puts("needs the right to lock any amount of memory");
    return 77;
  }
  EXPECT(munlockall() == 0);
  const size_t bytes = 12 * MIB;
  char* p = cold_make(bytes, 1);
  EXPECT(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
  EXPECT(cold_present(p, bytes) == bytes / PAGE);
  EXPECT_FILLED(p, bytes, 1);
  char* q = cold_map(4 * MIB);
  EXPECT(cold_present(q, 4 * MIB) == 4 * MIB / PAGE);
  cold_fill(q, 4 * MIB, 2);
  EXPECT(munlockall() == 0);
  cold_press();
  cold_press();
  EXPECT_FILLED(p, bytes, 1);
  EXPECT_FILLED(q, 4 * MIB, 2);
  puts("ok");
  return 0;
}
