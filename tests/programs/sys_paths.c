/* Checklist 13: path names, argument vectors and environments in cold memory reach the kernel: open, stat, rename, execve. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  char* p = cold_map(MIB);
  char* path = p + PAGE - 4; /* the text crosses two cold pages */
  strcpy(path, "/proc/self/status");
  cold_evict(p, 8 * PAGE);
  EXPECT(access(path, R_OK) == 0);
  cold_evict(p, 8 * PAGE);
  const int fd = open(path, O_RDONLY);
  EXPECT(fd >= 0);
  struct stat st;
  cold_evict(p, 8 * PAGE);
  EXPECT(stat(path, &st) == 0);

  char* old = p + 3 * PAGE - 2;
  char* fresh = p + 5 * PAGE - 2;
  strcpy(old, "cold-old-name");
  strcpy(fresh, "cold-new-name");
  close(open(old, O_CREAT | O_WRONLY, 0600));
  cold_evict(p, 8 * PAGE);
  EXPECT(rename(old, fresh) == 0);
  cold_evict(p, 8 * PAGE);
  EXPECT(unlink(fresh) == 0);

  strcpy(path, "/bin/sh");
  char** argv = (char**)(p + 10 * PAGE - 8);
  char** environment = (char**)(p + 20 * PAGE - 8);
  argv[0] = path;
  argv[1] = strcpy(p + 30 * PAGE - 1, "-c");
  argv[2] = strcpy(p + 40 * PAGE - 3, "echo child says $WORD");
  environment[0] = strcpy(p + 50 * PAGE - 3, "WORD=cold");
  fflush(stdout);
  cold_evict(p, MIB);
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    execve(path, argv, environment);
    _exit(127);
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  cold_evict(p, MIB);
  const pid_t quick = vfork();
  if (quick == 0) {
    execve(path, argv, environment);
    _exit(127);
  }
  EXPECT(waitpid(quick, &status, 0) == quick && status == 0);
  puts("ok");
  return 0;
}
