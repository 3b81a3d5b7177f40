/* Checklist 22: other people's fork handlers allocate, map and touch memory, in parent and child. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

static int g_prepared, g_parent, g_child;
static char* g_large;

static void use(void) {
  for (int i = 0; i < 200; ++i) free(escape(malloc((size_t)i * 100)));
  char* p = malloc(2 << 20);
  EXPECT(p);
  memset(p, 1, 2 << 20);
  free(p);
  void* map = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(map != MAP_FAILED);
  memset(map, 2, 4 << 20);
  EXPECT(munmap(map, 4 << 20) == 0);
  if (g_large)
    for (int at = 0; at < 8 << 20; at += 4096) ++g_large[at];
}
static void prepare(void) { use(), ++g_prepared; }
static void parent(void) { use(), ++g_parent; }
static void child(void) { use(), ++g_child; }

__attribute__((constructor(102))) static void register_early(void) { pthread_atfork(prepare, parent, child); }

static void once(void) {
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    use();
    _exit(g_child > 0 ? 0 : 1);
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void) {
  EXPECT(pthread_atfork(prepare, parent, child) == 0);
  once();
  g_large = malloc(8 << 20);
  memset(g_large, 0, 8 << 20);
  once();
  grow_process();
  for (int i = 0; i < 8; ++i) once();
  printf("prepare %d, parent %d, child %d\n", g_prepared, g_parent, g_child);
  return 0;
}
