/* Checklist 13: write, pwrite, writev and pwritev read from cold pages. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "cold.h"

enum { kBytes = 8 << 20 };

static void check_file(int fd, uint64_t seed) {
  uint64_t block[512];
  for (size_t at = 0; at < kBytes; at += PAGE) {
    EXPECT(pread(fd, block, PAGE, (off_t)at) == (ssize_t)PAGE);
    EXPECT_FILLED_FROM(block, PAGE, seed, at);
  }
}

int main(void) {
  const int fd = cold_file_with(kBytes, 0, 0);
  char* p = cold_make(kBytes, 1);
  EXPECT(lseek(fd, 0, SEEK_SET) == 0 && write(fd, p, kBytes) == kBytes);
  check_file(fd, 1);
  cold_fill(p, kBytes, 2);
  cold_evict(p, kBytes);
  EXPECT(pwrite(fd, p, kBytes, 0) == kBytes);
  check_file(fd, 2);
  cold_fill(p, kBytes, 3);
  struct iovec* iov = (struct iovec*)cold_map(MIB);
  for (size_t i = 0; i < 512; ++i) iov[i] = (struct iovec){p + i * 4 * PAGE, 4 * PAGE};
  cold_evict(p, kBytes);
  cold_evict(iov, MIB);
  EXPECT(pwritev(fd, iov, 512, 0) == kBytes);
  check_file(fd, 3);
  cold_fill(p, kBytes, 4);
  cold_evict(p, kBytes);
  EXPECT(lseek(fd, 0, SEEK_SET) == 0 && writev(fd, iov, 512) == kBytes);
  check_file(fd, 4);
  puts("ok");
  return 0;
}
