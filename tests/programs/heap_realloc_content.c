/* Checklist 6: realloc keeps the contents over all sizes: small, large, huge, growing, shrinking, across the change to
   memkind. */
#include <stdint.h>

#include "expect.h"

static uint64_t g_state = 88172645463325252u;
static uint64_t next_random(void) {
  g_state ^= g_state << 13, g_state ^= g_state >> 7, g_state ^= g_state << 17;
  return g_state;
}

/* A word that depends on the block and the place: checks every 512th byte or so. */
static void fill(char* p, size_t bytes, unsigned seed) {
  for (size_t at = 0; at + 8 <= bytes; at += 504) {
    const uint64_t word = at * 0x9e3779b97f4a7c15u + seed;
    memcpy(p + at, &word, 8);
  }
}
static void check(const char* p, size_t bytes, unsigned seed) {
  for (size_t at = 0; at + 8 <= bytes; at += 504) {
    uint64_t word;
    memcpy(&word, p + at, 8);
    EXPECT(word == at * 0x9e3779b97f4a7c15u + seed);
  }
}

int main(void) {
  enum { kBlocks = 16, kRounds = 600 };
  char* block[kBlocks] = {0};
  size_t bytes[kBlocks] = {0};
  for (int round = 0; round < kRounds; ++round) {
    if (round == kRounds / 3) grow_process();
    const unsigned i = (unsigned)(next_random() % kBlocks);
    static const unsigned shift[] = {6, 10, 13, 16, 18, 20, 20, 22, 24};
    const size_t wanted = 8 + next_random() % ((size_t)2 << shift[next_random() % 9]);
    char* p = realloc(block[i], wanted);
    EXPECT(p);
    check(p, bytes[i] < wanted ? bytes[i] : wanted, i);
    fill(p, wanted, i);
    block[i] = p;
    bytes[i] = wanted;
  }
  char* p = NULL;
  size_t size = 0;
  for (size_t wanted = 1 << 10; wanted <= (size_t)128 << 20; wanted *= 2) {
    p = realloc(p, wanted);
    EXPECT(p);
    check(p, size, 99);
    fill(p, wanted, 99);
    size = wanted;
  }
  for (; size > 512; size /= 2) {
    p = realloc(p, size / 2);
    EXPECT(p);
    check(p, size / 2, 99);
  }
  puts("ok");
  return 0;
}
