/* Checklist 18: without the right to lock, mlock and mlockall fail with the kernel's errors, and the memory stays evictable. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 16 * MIB;
  char* p = cold_make(bytes, 1);
  const struct rlimit little = {MIB, MIB}, nothing = {0, 0};
  EXPECT(setrlimit(RLIMIT_MEMLOCK, &little) == 0);
  if (getuid() == 0) EXPECT(setuid(65534) == 0); /* root may lock all it likes */
  errno = 0;
  EXPECT(mlock(p, 4 * MIB) == -1 && errno == ENOMEM);
  EXPECT(mlock(p, MIB / 2) == 0 && munlock(p, MIB / 2) == 0);
  errno = 0;
  EXPECT(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM);
  EXPECT(setrlimit(RLIMIT_MEMLOCK, &nothing) == 0);
  errno = 0;
  EXPECT(mlock(p, PAGE) == -1 && errno == EPERM);
  errno = 0;
  EXPECT(mlockall(MCL_CURRENT | MCL_FUTURE) == -1 && errno == EPERM);
  cold_press();
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
