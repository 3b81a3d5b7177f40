/* The mapping calls give what the kernel gives: results, errors and contents of map, move, grow, shrink, protect, lock. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "expect.h"

enum { kPage = 4096, kBytes = 8 << 20 };

static char* map(size_t bytes) {
  char* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(p != MAP_FAILED);
  return p;
}
static void fill(char* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 1000) p[at] = (char)(at / 1000 * 7);
}
static void check(const char* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 1000) EXPECT(p[at] == (char)(at / 1000 * 7));
}

int main(void) {
  char* p = map(kBytes);
  fill(p, kBytes);
  p = mremap(p, kBytes, 2 * kBytes, MREMAP_MAYMOVE);
  EXPECT(p != MAP_FAILED);
  check(p, kBytes);
  EXPECT(p[2 * kBytes - 1] == 0);
  p = mremap(p, 2 * kBytes, kBytes, 0);
  EXPECT(p != MAP_FAILED);
  char* to = map(kBytes);
  EXPECT(mremap(p, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
  check(to, kBytes);
  EXPECT(madvise(to + kBytes / 2, kBytes / 2, MADV_DONTNEED) == 0);
  check(to, kBytes / 2);
  for (int at = kBytes / 2; at < kBytes; at += kPage) EXPECT(to[at] == 0);
  EXPECT(posix_madvise(to, kBytes, POSIX_MADV_DONTNEED) == 0);
  check(to, kBytes / 2);
  EXPECT(mprotect(to, kBytes, PROT_READ) == 0);
  check(to, kBytes / 2);
  EXPECT(mprotect(to, kBytes, PROT_READ | PROT_WRITE) == 0);
  EXPECT(pkey_mprotect(to, kBytes, PROT_READ | PROT_WRITE, -1) == 0);
  EXPECT(mlock(to, 16 * kPage) == 0 && munlock(to, 16 * kPage) == 0);
  unsigned char present[16];
  EXPECT(mincore(to, 16 * kPage, present) == 0);
  for (int i = 0; i < 16; ++i) EXPECT(present[i] & 1);
  EXPECT(munmap(to + kBytes / 4, kBytes / 4) == 0);
  check(to, kBytes / 4);
  EXPECT(munmap(to, kBytes) == 0);

  errno = 0;
  EXPECT(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
  errno = 0;
  EXPECT(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
  errno = 0;
  EXPECT(munmap((void*)1, kPage) == -1 && errno == EINVAL);
  errno = 0;
  EXPECT(mprotect((void*)((size_t)20 << 40), kPage, PROT_READ) == -1 && errno == ENOMEM);
  errno = 0;
  EXPECT(madvise((void*)((size_t)20 << 40), kPage, MADV_DONTNEED) == -1 && errno == ENOMEM);
  EXPECT(posix_madvise((void*)((size_t)20 << 40), kPage, POSIX_MADV_WILLNEED) == ENOMEM);
  puts("ok");
  return 0;
}
