// A process that forks more often than its store can have layers, and keeps something of each.
/* run: dram=64M */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kBlocks = 96, kForks = 240, kBlock = 1 << 20 };

static uint64_t sum(unsigned char** blocks) {
  uint64_t all = 0;
  for (int i = 0; i < kBlocks; ++i)
    for (int at = 0; at < kBlock; at += 4096) all = all * 31 + blocks[i][at] + blocks[i][at + 100];
  return all;
}

int main(void) {
  unsigned char* blocks[kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    blocks[i] = malloc(kBlock);
    for (int at = 0; at < kBlock; ++at) blocks[i][at] = (unsigned char)(at * 7 + i);
  }
  int bad = 0;
  for (int n = 0; n < kForks; ++n) {
    // One page of every second block, never the same one again.
    for (int i = n % 2; i < kBlocks; i += 2) blocks[i][n * 4096 + 100] = (unsigned char)(n + i);
    const pid_t child = fork();
    if (child == 0) _exit(n == kForks - 1 ? (int)(sum(blocks) % 251) : 0);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 2;
    // Not looked at in between: what is touched is written anew, and old layers would end by themselves.
    if (n == kForks - 1 && WEXITSTATUS(status) != (int)(sum(blocks) % 251)) ++bad;
  }
  printf("%d forks, %d children that saw something else, %llu\n", kForks, bad, (unsigned long long)sum(blocks));
  return bad != 0;
}
