/* Checklist 13: process_vm_readv and process_vm_writev see cold memory, their own and that of another process. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "cold.h"

enum { kBytes = 4 << 20 };

int main(void) {
  char* p = cold_make(kBytes, 1);
  char* q = cold_make(kBytes, 2);
  struct iovec to = {q, kBytes}, from = {p, kBytes};
  const ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
  if (n < 0 && (errno == EPERM || errno == ENOSYS)) {
    puts("process_vm_readv is not allowed here");
    return 77;
  }
  EXPECT(n == kBytes);
  EXPECT_FILLED(q, kBytes, 1);
  cold_fill(p, kBytes, 3);
  cold_evict(p, kBytes);
  cold_evict(q, kBytes);
  EXPECT(process_vm_writev(getpid(), &from, 1, &to, 1, 0) == kBytes);
  EXPECT_FILLED(q, kBytes, 3);

  /* A child reads the parent's memory, which goes cold meanwhile, and writes into it. */
  int go[2];
  EXPECT(pipe(go) == 0);
  const pid_t parent = getpid(), pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    char byte;
    EXPECT(read(go[0], &byte, 1) == 1);
    EXPECT(process_vm_readv(parent, &to, 1, &from, 1, 0) == kBytes);
    EXPECT_FILLED(q, kBytes, 4);
    cold_fill(q, kBytes, 5);
    EXPECT(process_vm_writev(parent, &to, 1, &from, 1, 0) == kBytes);
    _exit(0);
  }
  (void)prctl(PR_SET_PTRACER, pid, 0, 0, 0);
  cold_fill(p, kBytes, 4);
  cold_evict(p, kBytes);
  EXPECT(write(go[1], "x", 1) == 1);
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  EXPECT_FILLED(p, kBytes, 5);
  cold_evict(p, kBytes);
  EXPECT_FILLED(p, kBytes, 5);
  puts("ok");
  return 0;
}
