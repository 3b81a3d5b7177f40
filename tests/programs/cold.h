/* For the test programs: memory with known contents, and a way to make it cold.
 *
 * Run bare, nothing is made cold; under the library with a budget (EBB_DRAM) cold_evict() goes on
 * touching other memory until the kernel's page map says that the range has left DRAM, and fails when it never does. */
#ifndef EBB_TESTS_COLD_H
#define EBB_TESTS_COLD_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "expect.h"

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

/* Whether the library is to keep this process in a budget. */
static inline int cold_is_tiered(void) { return getenv("EBB_DRAM") != NULL; }

/* The budget; run bare, that of the usual test, by which programs choose how much memory to use. */
static inline size_t cold_dram(void) {
  const char* text = getenv("EBB_DRAM");
  if (!text) return 64 * MIB;
  char* unit = NULL;
  const size_t n = strtoul(text, &unit, 10);
  EXPECT(n > 0 && (*unit == 'M' || *unit == 'G'));
  return n * (*unit == 'G' ? 1024 * MIB : MIB);
}

static inline char* cold_map(size_t bytes) {
  void* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(p != MAP_FAILED);
  return (char*)p;
}

static inline uint64_t cold_word(uint64_t seed, size_t index) {
  uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + index * 0xbf58476d1ce4e5b9u;
  x ^= x >> 29;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 32);
}

static inline void cold_fill(void* p, size_t bytes, uint64_t seed) {
  uint64_t* word = (uint64_t*)p;
  for (size_t i = 0; i < bytes / 8; ++i) word[i] = cold_word(seed, i);
}

/* The first byte offset at which the contents of cold_fill(seed) are not there; `bytes` when all are. `skip` is how far
 * into the filled memory `p` is. */
static inline size_t cold_mismatch_from(const void* p, size_t bytes, uint64_t seed, size_t skip) {
  const uint64_t* word = (const uint64_t*)p;
  for (size_t i = 0; i < bytes / 8; ++i)
    if (word[i] != cold_word(seed, skip / 8 + i)) return i * 8;
  return bytes;
}
static inline size_t cold_mismatch(const void* p, size_t bytes, uint64_t seed) {
  return cold_mismatch_from(p, bytes, seed, 0);
}

#define EXPECT_FILLED_FROM(p, bytes, seed, skip)                                                                     \
  do {                                                                                                               \
    const size_t at_ = cold_mismatch_from((p), (bytes), (seed), (skip));                                             \
    if (at_ != (bytes)) {                                                                                            \
      fprintf(stderr, "%s:%d: wrong word at offset %#zx of %#zx: %#llx instead of %#llx\n", __FILE__, __LINE__, at_, \
              (size_t)(bytes), *(const unsigned long long*)((const char*)(p) + at_),                                 \
              (unsigned long long)cold_word((seed), ((size_t)(skip) + at_) / 8));                                    \
      exit(1);                                                                                                       \
    }                                                                                                                \
  } while (0)
#define EXPECT_FILLED(p, bytes, seed) EXPECT_FILLED_FROM(p, bytes, seed, 0)

#define EXPECT_ZERO(p, bytes)                                                                                  \
  do {                                                                                                         \
    const char* p_ = (const char*)(p);                                                                         \
    for (size_t at_ = 0; at_ < (bytes); at_ += 8)                                                              \
      if (*(const uint64_t*)(p_ + at_) != 0) {                                                                 \
        fprintf(stderr, "%s:%d: not zero at offset %#zx of %#zx\n", __FILE__, __LINE__, at_, (size_t)(bytes)); \
        exit(1);                                                                                               \
      }                                                                                                        \
  } while (0)

static inline uint64_t cold_hash(const void* p, size_t bytes) {
  const uint64_t* word = (const uint64_t*)p;
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes / 8; ++i) h = (h ^ word[i]) * 0x100000001b3u;
  return h;
}

/* How many pages of the range are in DRAM at their place, as the kernel sees it. */
static inline size_t cold_present(const void* p, size_t bytes) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  EXPECT(fd >= 0);
  size_t present = 0;
  uint64_t entry[512];
  const size_t first = (uintptr_t)p / PAGE, end = ((uintptr_t)p + bytes + PAGE - 1) / PAGE;
  for (size_t page = first; page < end;) {
    const size_t n = end - page < 512 ? end - page : 512;
    EXPECT(pread(fd, entry, n * 8, (off_t)(page * 8)) == (ssize_t)(n * 8));
    for (size_t i = 0; i < n; ++i) present += entry[i] >> 63;
    page += n;
  }
  close(fd);
  return present;
}

/* Touches other memory, all of it new, and gives it back: a quarter more than the budget once, or twice the budget
 * twice, which displaces what the replacement policy had meant to keep. */
static inline void cold_press_by(size_t bytes, int passes) {
  if (!cold_is_tiered()) return;
  char* other = cold_map(bytes);
  for (int pass = 0; pass < passes; ++pass)
    for (size_t at = 0; at < bytes; at += PAGE) *(uint64_t*)(other + at) = at + 1;
  EXPECT(munmap(other, bytes) == 0);
}
static inline void cold_press(void) { cold_press_by(cold_dram() / 4 * 5, 1); }

static inline void cold_evict(const void* p, size_t bytes) {
  if (!cold_is_tiered()) return;
  cold_press();
  size_t present = cold_present(p, bytes);
  for (int round = 0; present && round < 12; ++round) {
    /* A few pages may be somebody's in this moment; most of a range has to go. */
    if (round > 2 && present * PAGE * 4 <= bytes) break;
    cold_press_by(2 * cold_dram(), 2);
    present = cold_present(p, bytes);
  }
  if (present * PAGE * 4 > bytes) {
    fprintf(stderr, "%zu of %zu pages cannot be made cold\n", present, (bytes + PAGE - 1) / PAGE);
    exit(1);
  }
}

/* Mapped, filled and cold. */
static inline char* cold_make(size_t bytes, uint64_t seed) {
  char* p = cold_map(bytes);
  cold_fill(p, bytes, seed);
  cold_evict(p, bytes);
  return p;
}

/* A file of this size with the pattern of `seed`, unlinked, opened for reading and writing. */
static inline int cold_file_with(size_t bytes, uint64_t seed, int flags) {
  char name[] = "cold-XXXXXX";
  const int fd = mkstemp(name);
  EXPECT(fd >= 0);
  uint64_t block[512];
  for (size_t at = 0; at < bytes; at += sizeof block) {
    for (size_t i = 0; i < 512; ++i) block[i] = cold_word(seed, at / 8 + i);
    EXPECT(pwrite(fd, block, sizeof block, (off_t)at) == (ssize_t)sizeof block);
  }
  int result = fd;
  if (flags) {
    result = open(name, O_RDWR | flags);
    close(fd);
  }
  unlink(name);
  return result;
}

#endif
