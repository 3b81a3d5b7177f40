/* Checklist 24 and 25: children with the whole, an emptied and a partly cleared environment run and print as ever. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

extern char** environ;

static void run(const char* what, char** environment) {
  fflush(stdout);
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    char* argv[] = {"sh", "-c", "echo child; exit 3", NULL};
    execve("/bin/sh", argv, environment);
    _exit(127);
  }
  int status = 0;
  EXPECT(waitpid(pid, &status, 0) == pid);
  printf("%s: exit %d\n", what, WEXITSTATUS(status));
}

int main(void) {
  char* empty[] = {NULL};
  char* without_limit[] = {"PATH=/usr/bin:/bin", "EBB_VERBOSE=0", NULL};
  run("inherited", environ);
  run("empty", empty);
  run("other", without_limit);
  grow_process();
  run("inherited, grown", environ);
  EXPECT(system("echo by system") == 0);
  FILE* pipe = popen("echo by popen", "r");
  char line[64] = "";
  EXPECT(pipe && fgets(line, sizeof line, pipe) && pclose(pipe) == 0);
  fputs(line, stdout);
  return 0;
}
