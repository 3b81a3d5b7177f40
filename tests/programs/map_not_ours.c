/* Shared anonymous maps, private file maps, stacks that grow down and memfds work as ever beside cold memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  const int rw = PROT_READ | PROT_WRITE;
  const size_t bytes = 4 * MIB;
  char* cold = cold_make(8 * MIB, 99);
  char* shared = mmap(NULL, bytes, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const int fd = cold_file_with(bytes, 1, 0);
  char* file = mmap(NULL, bytes, rw, MAP_PRIVATE, fd, 0);
  const int memfd = memfd_create("test", 0);
  EXPECT(ftruncate(memfd, (off_t)bytes) == 0);
  char* memory = mmap(NULL, bytes, rw, MAP_SHARED, memfd, 0);
  char* stack = mmap(NULL, 2 * MIB, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, -1, 0);
  EXPECT(shared != MAP_FAILED && file != MAP_FAILED && memory != MAP_FAILED && stack != MAP_FAILED);
  cold_fill(shared, bytes, 2);
  cold_fill(memory, bytes, 3);
  cold_fill(stack, 2 * MIB, 4);
  cold_fill(file + MIB, MIB, 5);
  cold_press();
  const pid_t pid = fork();
  EXPECT(pid >= 0);
  if (pid == 0) {
    EXPECT_FILLED(cold, 8 * MIB, 99);
    EXPECT_FILLED(shared, bytes, 2);
    cold_fill(shared, bytes, 12);
    cold_fill(memory, bytes, 13);
    cold_fill(cold, 8 * MIB, 100);
    _exit(0);
  }
  int status = 1;
  EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
  EXPECT_FILLED(shared, bytes, 12); /* shared means shared */
  EXPECT_FILLED(memory, bytes, 13);
  EXPECT_FILLED(stack, 2 * MIB, 4);
  EXPECT_FILLED(file, MIB, 1);
  EXPECT_FILLED(file + MIB, MIB, 5);
  EXPECT_FILLED_FROM(file + 2 * MIB, 2 * MIB, 1, 2 * MIB);
  EXPECT_FILLED(cold, 8 * MIB, 99);
  puts("ok");
  return 0;
}
