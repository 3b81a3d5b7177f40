/* Checklist 30: changing the user, entering a user namespace and strict seccomp work before the first large block. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

static int in_child(int (*action)(void)) {
  fflush(stdout);
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) _exit(action());
  int status = 0;
  EXPECT(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int use_large(void) {
  char* p = malloc(8 << 20);
  if (!p) return 2;
  memset(p, 1, 8 << 20);
  free(p);
  return 0;
}

static int other_user(void) {
  if (setgid(65534) || setuid(65534)) return geteuid() == 0 ? 1 : 0;
  return use_large();
}

static int user_namespace(void) {
  if (unshare(CLONE_NEWUSER)) return errno == EINVAL ? 1 : 0; /* EINVAL: the process has threads */
  return use_large();
}

static int strict(void) {
  free(escape(malloc(100)));
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 0;
  for (int i = 0; i < 1000; ++i) free(escape(malloc(100)));
  syscall(SYS_exit, 0);
  return 1;
}

int main(void) {
  printf("other user %d\n", in_child(other_user));
  printf("user namespace %d\n", in_child(user_namespace));
  printf("strict seccomp %d\n", in_child(strict));
  return 0;
}
