/* For the test programs: a check that says where it failed, and a way to make the process a grown one. */
#ifndef EBB_TESTS_EXPECT_H
#define EBB_TESTS_EXPECT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

/* Allocates and keeps 96 MiB of small blocks: after it a preloaded process has left glibc's heap for memkind. */
static inline void grow_process(void) {
  for (int i = 0; i < 96 * 1024; ++i) {
    char* p = (char*)malloc(1000);
    EXPECT(p != NULL);
    memset(p, i, 1000);
  }
}

/* Keeps the compiler from knowing what it could complain about or optimise away. */
static inline size_t hidden(size_t value) {
  volatile size_t copy = value;
  return copy;
}

static inline void* escape(void* p) {
  void* volatile copy = p;
  return copy;
}

#endif
