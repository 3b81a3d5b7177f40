/* Checklist 13: read, pread, readv and preadv fill cold pages, whole and in part. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "cold.h"

enum { kBytes = 4 << 20 };

int main(void) {
  const int fd = cold_file_with(kBytes, 7, 0);
  char* p = cold_make(2 * kBytes, 1);
  EXPECT(lseek(fd, 0, SEEK_SET) == 0);
  EXPECT(read(fd, p, kBytes) == kBytes);
  EXPECT_FILLED(p, kBytes, 7);
  EXPECT_FILLED_FROM(p + kBytes, kBytes, 1, kBytes);

  /* Ten bytes across the border of two cold pages: what is around them stays. */
  cold_fill(p, 2 * kBytes, 2);
  cold_evict(p, 2 * kBytes);
  for (size_t at = PAGE - 8; at < kBytes; at += 64 * PAGE) EXPECT(pread(fd, p + at, 16, (off_t)at) == 16);
  for (size_t at = PAGE - 8; at < kBytes; at += 64 * PAGE) EXPECT_FILLED_FROM(p + at, 16, 7, at);
  EXPECT_FILLED_FROM(p + PAGE + 8, 63 * PAGE - 16, 2, PAGE + 8);

  cold_fill(p, 2 * kBytes, 3);
  struct iovec* iov = (struct iovec*)cold_map(MIB); /* the vector itself is cold, too */
  for (int i = 0; i < 64; ++i) iov[i] = (struct iovec){p + (size_t)i * 16 * PAGE, 8 * PAGE};
  cold_evict(p, 2 * kBytes);
  cold_evict(iov, MIB);
  EXPECT(preadv(fd, iov, 64, 0) == (ssize_t)(64 * 8 * PAGE));
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_FILLED_FROM(p + i * 16 * PAGE, 8 * PAGE, 7, i * 8 * PAGE);
    EXPECT_FILLED_FROM(p + (i * 16 + 8) * PAGE, 8 * PAGE, 3, (i * 16 + 8) * PAGE);
  }
  cold_evict(p, 2 * kBytes);
  cold_evict(iov, MIB);
  EXPECT(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, iov, 64) == (ssize_t)(64 * 8 * PAGE));
  EXPECT_FILLED(p, 8 * PAGE, 7);
  EXPECT(read(fd, (void*)hidden(8), PAGE) == -1); /* a bad address is still an error */
  puts("ok");
  return 0;
}
