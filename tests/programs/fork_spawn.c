/* Checklist 21: vfork, posix_spawn, system and popen from a process that is mostly cold; their children share or leave its memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/wait.h>

#include "cold.h"

extern char** environ;

int main(void) {
  const size_t bytes = 3 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  for (int i = 0; i < 5; ++i) {
    int status = 1;
    const pid_t quick = vfork();
    if (quick == 0) {
      /* Cold memory of the parent, touched by the child while the parent stands still. */
      _exit(cold_mismatch(p + (size_t)i * MIB, MIB, 7) == MIB);
    }
    EXPECT(waitpid(quick, &status, 0) == quick && status == 0);
    char* argv[] = {"sh", "-c", "exit 5", NULL};
    pid_t pid = 0;
    EXPECT(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
    EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
    EXPECT(WEXITSTATUS(system("exit 6")) == 6);
    FILE* pipe = popen("cat; exit 7", "w");
    EXPECT(pipe && fputs("through a pipe\n", pipe) > 0 && WEXITSTATUS(pclose(pipe)) == 7);
    cold_press();
  }
  EXPECT_FILLED(p, bytes, 1);
  puts("ok");
  return 0;
}
