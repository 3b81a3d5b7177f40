/* Checklist 20: _Fork runs no handlers, and its child still sees every byte. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

int main(void) {
  enum { kBytes = 96 << 20 };
  char* p = malloc(kBytes);
  EXPECT(p);
  for (int at = 0; at < kBytes; at += 64) p[at] = (char)(at >> 12);
  const pid_t pid = _Fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    for (int at = 0; at < kBytes; at += 64)
      if (p[at] != (char)(at >> 12)) _exit(1);
    _exit(0);
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  puts("ok");
  return 0;
}
