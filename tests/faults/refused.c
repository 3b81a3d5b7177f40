// Runs a command with system calls refused, as containers and locked-down machines refuse them:
//
//   refused uffd|uring COMMAND...
//
// uffd: userfaultfd(2), and making one through /dev/userfaultfd, are EPERM. uring:
// io_uring_setup(2) is EPERM, as in Docker's default profile. Exits with 77 where no filter can be set.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

enum { USERFAULTFD_NEW = 0xAA00 };  // ioctl request of /dev/userfaultfd

static struct sock_filter uffd[] = {
    LOAD(nr),      SKIP_UNLESS(SYS_userfaultfd, 1), REFUSE(EPERM), SKIP_UNLESS(SYS_ioctl, 3),
    LOAD(args[1]), SKIP_UNLESS(USERFAULTFD_NEW, 1), REFUSE(EPERM), ALLOW,
};
static struct sock_filter uring[] = {
    LOAD(nr),
    SKIP_UNLESS(SYS_io_uring_setup, 1),
    REFUSE(EPERM),
    ALLOW,
};

int main(int argc, char** argv) {
  struct sock_fprog filter = {0, NULL};
  if (argc > 2 && strcmp(argv[1], "uffd") == 0)
    filter = (struct sock_fprog){sizeof uffd / sizeof *uffd, uffd};
  else if (argc > 2 && strcmp(argv[1], "uring") == 0)
    filter = (struct sock_fprog){sizeof uring / sizeof *uring, uring};
  else
    return fprintf(stderr, "usage: refused uffd|uring COMMAND...\n"), 125;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("refused: seccomp");
    return 77;
  }
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
