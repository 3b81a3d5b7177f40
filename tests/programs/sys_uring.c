/* Checklist 13: the program's own io_uring reads into and writes from cold memory, with plain and with registered buffers. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>

#include "cold.h"

enum { kBytes = 8 << 20, kPart = 128 << 10, kParts = kBytes / kPart };

static void all_parts(struct io_uring* ring, int fd, char* p, int write, int fixed) {
  for (int i = 0; i < kParts; ++i) {
    struct io_uring_sqe* e = io_uring_get_sqe(ring);
    EXPECT(e);
    const size_t at = (size_t)i * kPart;
    if (fixed && write) io_uring_prep_write_fixed(e, fd, p + at, kPart, at, 0);
    else if (fixed) io_uring_prep_read_fixed(e, fd, p + at, kPart, at, 0);
    else if (write) io_uring_prep_write(e, fd, p + at, kPart, at);
    else io_uring_prep_read(e, fd, p + at, kPart, at);
  }
  EXPECT(io_uring_submit(ring) == kParts);
  for (int i = 0; i < kParts; ++i) {
    struct io_uring_cqe* c = NULL;
    EXPECT(io_uring_wait_cqe(ring, &c) == 0);
    if (c->res != kPart) fprintf(stderr, "result %d\n", c->res);
    EXPECT(c->res == kPart);
    io_uring_cqe_seen(ring, c);
  }
}

static void rounds(struct io_uring* ring, int fd, int fixed) {
  char* p = cold_make(kBytes, 3);
  if (fixed) {
    const struct iovec iov = {p, kBytes};
    const int r = io_uring_register_buffers(ring, &iov, 1);
    if (r == -ENOMEM) { /* RLIMIT_MEMLOCK */
      munmap(p, kBytes);
      return;
    }
    EXPECT(r == 0);
  }
  for (unsigned i = 0; i < 2; ++i) {
    cold_fill(p, kBytes, 10 + i);
    if (fixed) cold_press(); /* pinned pages may stay */
    else cold_evict(p, kBytes);
    all_parts(ring, fd, p, 1, fixed);
    memset(p, 0, kBytes);
    if (fixed) cold_press();
    else cold_evict(p, kBytes);
    all_parts(ring, fd, p, 0, fixed);
    EXPECT_FILLED(p, kBytes, 10 + i);
  }
  if (fixed) EXPECT(io_uring_unregister_buffers(ring) == 0);
  EXPECT(munmap(p, kBytes) == 0);
}

int main(void) {
  struct io_uring ring;
  const int r = io_uring_queue_init(128, &ring, 0);
  if (r == -ENOSYS || r == -EPERM) {
    puts("no io_uring here");
    return 77;
  }
  EXPECT(r == 0);
  const int fd = cold_file_with(kBytes, 1, 0);
  rounds(&ring, fd, 0);
  rounds(&ring, fd, 1);
  const int direct = cold_file_with(kBytes, 1, O_DIRECT);
  if (direct >= 0) {
    rounds(&ring, direct, 0);
    rounds(&ring, direct, 1);
  }
  io_uring_queue_exit(&ring);
  puts("ok");
  return 0;
}
