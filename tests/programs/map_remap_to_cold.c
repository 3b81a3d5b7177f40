// A cold range that mremap moves to another position within its 2 MiB keeps every page, several times over (row 14).
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { kPage = 4096, kRange = 24 << 20, kOther = 96 << 20, kExtent = 2 << 20 };

static size_t wrong(const char* range) {
  size_t n = 0;
  for (size_t i = 0; i < kRange; i += kPage) n += *(const size_t*)(range + i) != i + 1;
  return n;
}

int main(void) {
  char* other = mmap(NULL, kOther, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* range = mmap(NULL, kRange, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (other == MAP_FAILED || range == MAP_FAILED) return perror("mmap"), 1;
  for (size_t i = 0; i < kRange; i += kPage) *(size_t*)(range + i) = i + 1;
  size_t all = 0;
  for (int round = 0; round < 4; ++round) {
    memset(other, round, kOther);
    char* place = mmap(NULL, kRange + kExtent, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return perror("mmap of a place"), 1;
    const size_t lead = (size_t)(round * 37 + 5) % 512 * kPage;
    char* to = place + lead;
    if (mremap(range, kRange, kRange, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) return perror("mremap"), 1;
    munmap(place, lead);
    munmap(to + kRange, kExtent - lead);
    range = to;
    const size_t n = wrong(range);
    printf("round %d: %zu pages wrong\n", round, n);
    all += n;
  }
  return all != 0;
}
