/* Checklist 23: a program that closes every descriptor it does not know, in all the ways there are, keeps its memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "expect.h"

enum { kBytes = 96 << 20 };

static void check(const char* p) {
  for (int at = 0; at < kBytes; at += 64) EXPECT(p[at] == (char)(at >> 12));
}

int main(void) {
  char* p = malloc(kBytes);
  EXPECT(p);
  for (int at = 0; at < kBytes; at += 64) p[at] = (char)(at >> 12);
  struct rlimit limit;
  EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const int end = limit.rlim_cur > 70000 ? 70000 : (int)limit.rlim_cur;
  for (int fd = 3; fd < end; ++fd) close(fd);
  check(p);
  EXPECT(close_range(3, ~0u, 0) == 0);
  check(p);
  closefrom(3);
  check(p);
  for (int fd = 3; fd < end; ++fd)
    if (dup2(1, fd) < 0) EXPECT(errno == EBADF);
  check(p);
  closefrom(3);
  errno = 0;
  EXPECT(close_range(7, 3, 0) == -1 && errno == EINVAL);
  errno = 0;
  EXPECT(close(5) == -1 && errno == EBADF);
  EXPECT(dup3(1, 10, 0) == 10 && close(10) == 0);
  check(p);
  puts("ok");
  return 0;
}
