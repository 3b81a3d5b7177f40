/* Checklist 13: system calls that leave their result in cold memory: getdents, ioctl, stat, getrandom, pipe, poll, wait, ... */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <net/if.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "cold.h"

/* The place of the result: crosses the border of two cold pages, and moves on each time. */
static char* g_memory;
static char* cold_place(void) {
  cold_evict(g_memory, 4 * PAGE);
  return g_memory + PAGE - 8;
}

int main(void) {
  g_memory = cold_map(MIB);
  memset(g_memory, 0x5a, MIB);
  char* p = cold_place();
  const int root = open("/proc/self", O_RDONLY | O_DIRECTORY);
  EXPECT(syscall(SYS_getdents64, root, p, 2 * PAGE) > 100 && strstr(p + 19, ".") == p + 19);

  int ends[2];
  EXPECT(pipe(ends) == 0 && write(ends[1], "hello", 5) == 5);
  p = cold_place() + 4;
  EXPECT(ioctl(ends[0], FIONREAD, p) == 0 && *(int*)p == 5);
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  if (s >= 0) {
    p = cold_place();
    struct ifconf* conf = (struct ifconf*)(g_memory + 2 * PAGE - 8);
    conf->ifc_len = (int)(4 * sizeof(struct ifreq));
    conf->ifc_buf = g_memory + 3 * PAGE;
    cold_evict(g_memory, 4 * PAGE);
    EXPECT(ioctl(s, SIOCGIFCONF, conf) == 0);
  }

  struct stat here;
  EXPECT(stat("/", &here) == 0);
  p = cold_place();
  EXPECT(stat("/", (struct stat*)p) == 0 && ((struct stat*)p)->st_ino == here.st_ino);
  p = cold_place();
  EXPECT(statfs("/proc", (struct statfs*)p) == 0 && ((struct statfs*)p)->f_type == 0x9fa0);
  p = cold_place();
  EXPECT(getrandom(p, 64, 0) == 64);
  p = cold_place();
  EXPECT(uname((struct utsname*)p) == 0 && strcmp(((struct utsname*)p)->sysname, "Linux") == 0);
  p = cold_place();
  EXPECT(readlink("/proc/self/exe", p, 1000) > 0);
  p = cold_place();
  EXPECT(syscall(SYS_getcwd, p, 3 * PAGE) > 1 && p[0] == '/');
  p = cold_place();
  EXPECT(getrusage(RUSAGE_SELF, (struct rusage*)p) == 0);
  p = cold_place();
  EXPECT(sysinfo((struct sysinfo*)p) == 0 && ((struct sysinfo*)p)->totalram > 0);
  p = cold_place();
  EXPECT(syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, p) == 0);
  p = cold_place();
  EXPECT(getrlimit(RLIMIT_NOFILE, (struct rlimit*)p) == 0);
  p = cold_place();
  EXPECT(syscall(SYS_pipe2, p, 0) == 0 && ((int*)p)[1] == ((int*)p)[0] + 1);
  p = cold_place();
  sigset_t* set = (sigset_t*)p;
  EXPECT(sigprocmask(SIG_SETMASK, NULL, set) == 0 && !sigismember(set, SIGTERM));

  struct pollfd* polled = (struct pollfd*)(g_memory + PAGE - 8);
  *polled = (struct pollfd){ends[0], POLLIN, 0};
  cold_place();
  EXPECT(poll(polled, 1, 10000) == 1 && polled->revents == POLLIN);
  fd_set* ready = (fd_set*)(g_memory + PAGE - 8);
  FD_ZERO(ready);
  FD_SET(ends[0], ready);
  cold_place();
  EXPECT(select(ends[0] + 1, ready, NULL, NULL, NULL) == 1 && FD_ISSET(ends[0], ready));
  const int epoll = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 42};
  EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted) == 0);
  struct epoll_event* events = (struct epoll_event*)cold_place();
  EXPECT(epoll_wait(epoll, events, 8, 10000) == 1 && events->data.u64 == 42);

  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) _exit(9);
  int* status = (int*)(g_memory + PAGE);
  cold_evict(g_memory, 4 * PAGE);
  EXPECT(waitpid(pid, status, 0) == pid && WEXITSTATUS(*status) == 9);
  for (size_t at = 8 * PAGE; at < MIB; ++at) EXPECT(g_memory[at] == 0x5a);
  puts("ok");
  return 0;
}
