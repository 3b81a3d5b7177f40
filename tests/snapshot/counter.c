// Counts in a file, a step a line of input, in memory that it checks: counter FILE. Answers with the count.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { kWords = 1 << 20 };

int main(int argc, char** argv) {
  const int file = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
  uint64_t* words = malloc(kWords * sizeof(*words));
  char line[64];
  if (file < 0 || !words) return 2;
  for (uint64_t i = 0; i < kWords; ++i) words[i] = i * i;
  for (int count = 1; fgets(line, sizeof(line), stdin); ++count) {
    for (uint64_t i = 0; i < kWords; ++i)
      if (words[i] != i * i) return 3;
    if (dprintf(file, "%d\n", count) < 0) return 4;
    printf("%d\n", count);
    fflush(stdout);
  }
  return 7;
}
