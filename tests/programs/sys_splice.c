/* Checklist 13: vmsplice from and to cold pages, tee and splice: what lies in the pipe stays what it was. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "cold.h"

enum { kPart = 32 << 10, kBytes = 4 << 20 };

int main(void) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  char* p = cold_make(kBytes, 1);
  char* q = cold_map(kBytes);
  const int fd = cold_file_with(kBytes, 2, 0);

  cold_evict(q, kBytes);
  for (size_t at = 0; at < kBytes; at += kPart) {
    struct iovec out = {p + at, kPart};
    for (size_t sent = 0; sent < kPart;) {
      const ssize_t n = vmsplice(ends[1], &out, 1, 0);
      EXPECT(n > 0);
      sent += (size_t)n;
      out.iov_base = p + at + sent;
      out.iov_len = kPart - sent;
    }
    /* The pipe holds references to the pages; they may go cold but not change. */
    if (at % (64 * kPart) == 0) cold_press();
    struct iovec in = {q + at, kPart};
    for (size_t got = 0; got < kPart;) {
      const ssize_t n = vmsplice(ends[0], &in, 1, 0);
      EXPECT(n > 0);
      got += (size_t)n;
      in.iov_base = q + at + got;
      in.iov_len = kPart - got;
    }
  }
  EXPECT_FILLED(q, kBytes, 1);

  /* Into a file by splice, and out of it into cold memory by read. */
  cold_evict(p, kBytes);
  loff_t offset = 0;
  for (size_t at = 0; at < kBytes; at += kPart) {
    const struct iovec out = {p + at, kPart};
    EXPECT(vmsplice(ends[1], &out, 1, 0) == kPart);
    for (size_t moved = 0; moved < kPart;) {
      const ssize_t n = splice(ends[0], NULL, fd, &offset, kPart - moved, 0);
      EXPECT(n > 0);
      moved += (size_t)n;
    }
  }
  cold_evict(q, kBytes);
  EXPECT(pread(fd, q, kBytes, 0) == kBytes);
  EXPECT_FILLED(q, kBytes, 1);
  puts("ok");
  return 0;
}
