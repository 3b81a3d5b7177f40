/* Checklist 18: mlock and mlock2 bring cold pages in and keep them there; munlock lets them go; errors are the kernel's. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>

#include "cold.h"

int main(void) {
  const struct rlimit plenty = {RLIM_INFINITY, RLIM_INFINITY};
  struct rlimit now;
  EXPECT(getrlimit(RLIMIT_MEMLOCK, &now) == 0);
  if (setrlimit(RLIMIT_MEMLOCK, &plenty) != 0 && now.rlim_cur < 4 * MIB) {
    puts("RLIMIT_MEMLOCK is less than 4 MiB");
    return 77;
  }
  const size_t bytes = 16 * MIB, part = 3 * MIB + 5 * PAGE;
  char* p = cold_make(bytes, 1);
  char* locked = p + 2 * MIB + PAGE;
  EXPECT(mlock(locked, part) == 0);
  EXPECT(cold_present(locked, part) == part / PAGE);
  cold_press();
  EXPECT(cold_present(locked, part) == part / PAGE);
  EXPECT_FILLED(p, bytes, 1);
  cold_fill(p, bytes, 2);
  cold_press();
  EXPECT(cold_present(locked, part) == part / PAGE);
  EXPECT_FILLED(p, bytes, 2);
  EXPECT(munlock(locked, part) == 0);
  cold_evict(p, bytes);
  EXPECT_FILLED(p, bytes, 2);
  cold_evict(p, bytes);
  EXPECT(mlock2(locked, part, MLOCK_ONFAULT) == 0);
  EXPECT_FILLED(p, bytes, 2);
  cold_press();
  EXPECT(cold_present(locked, part) == part / PAGE);
  EXPECT(mlock2(locked, part, 12345) == -1 && errno == EINVAL);
  EXPECT(munmap(locked, part) == 0);
  EXPECT(mlock(p, bytes) == -1 && errno == ENOMEM); /* a hole */
  EXPECT_FILLED(p, 2 * MIB + PAGE, 2);
  puts("ok");
  return 0;
}
