/* A parent that unmaps, overwrites and ends leaves its child's cold memory whole (daemons); the child does the same to its own. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "cold.h"

int main(void) {
  const size_t bytes = 2 * cold_dram();
  char* p = cold_map(bytes);
  cold_fill(p, bytes, 1);
  int gone[2], done[2];
  EXPECT(pipe(gone) == 0 && pipe(done) == 0);
  const pid_t middle = fork();
  EXPECT(middle >= 0);
  if (middle == 0) {
    const pid_t orphan = fork();
    if (orphan == 0) {
      char byte;
      close(gone[1]);
      EXPECT(read(gone[0], &byte, 1) == 0); /* end of file: the middle one is dead */
      EXPECT_FILLED(p, bytes, 1);
      cold_fill(p, bytes / 2, 3);
      EXPECT_FILLED(p, bytes / 2, 3);
      EXPECT_FILLED_FROM(p + bytes / 2, bytes / 2, 1, bytes / 2);
      EXPECT(write(done[1], "x", 1) == 1);
      _exit(0);
    }
    EXPECT(munmap(p + MIB, bytes / 2) == 0);
    cold_fill(p, MIB, 2);
    EXPECT_FILLED(p, MIB, 2);
    _exit(orphan < 0);
  }
  close(gone[1]), close(done[1]);
  cold_fill(p, bytes, 4);
  int status = 1;
  EXPECT(waitpid(middle, &status, 0) == middle && status == 0);
  char byte;
  EXPECT(read(done[0], &byte, 1) == 1);
  EXPECT_FILLED(p, bytes, 4);
  puts("ok");
  return 0;
}
