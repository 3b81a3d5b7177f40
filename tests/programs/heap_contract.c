/* Checklist 1 and 2: sizes of zero, NULL, and sizes that overflow behave as glibc's, in a small and in a grown process. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>

#include "expect.h"

static void zero_sizes(void) {
  void* a = escape(malloc(0));
  void* b = escape(malloc(0));
  void* c = escape(calloc(0, 8));
  void* d = escape(calloc(8, 0));
  EXPECT(a && b && c && d && a != b && c != d);
  free(a), free(b), free(c), free(d);
  free(NULL);
  void* p = realloc(NULL, 10);
  EXPECT(p);
  EXPECT(realloc(p, hidden(0)) == NULL);
  EXPECT(malloc_usable_size(NULL) == 0);
}

static void overflows(void) {
  static const size_t factors[][2] = {{SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}, {(size_t)1 << 33, (size_t)1 << 31},
                                      {SIZE_MAX / 2 + 1, 2}, {3, SIZE_MAX / 3 + 1}};
  for (unsigned i = 0; i < sizeof factors / sizeof factors[0]; ++i) {
    const size_t n = hidden(factors[i][0]), m = hidden(factors[i][1]);
    errno = 0;
    EXPECT(escape(calloc(n, m)) == NULL && errno == ENOMEM);
    void* p = escape(malloc(100));
    memset(p, 7, 100);
    errno = 0;
    EXPECT(reallocarray(p, n, m) == NULL && errno == ENOMEM);
    EXPECT(((char*)p)[99] == 7);
    free(p);
  }
  static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX};
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    const size_t n = hidden(sizes[i]);
    errno = 0;
    EXPECT(escape(malloc(n)) == NULL && errno == ENOMEM);
    void* p = escape(malloc(1));
    errno = 0;
    EXPECT(realloc(p, n) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(escape(memalign(64, n)) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(escape(valloc(n)) == NULL && errno == ENOMEM);
    void* out = p;
    EXPECT(posix_memalign(&out, 64, n) == ENOMEM && out == p);
    free(p);
  }
}

static void calloc_is_zero(void) {
  static const size_t sizes[] = {1, 100, 5000, 70000, 300000, 2 << 20, 40 << 20};
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
    for (int round = 0; round < 3; ++round) {
      unsigned char* p = calloc(1, sizes[i]);
      EXPECT(p && p[0] == 0);
      for (size_t at = 0; at < sizes[i]; ++at) EXPECT(p[at] == 0);
      memset(p, 0xee, sizes[i]);
      free(p);
    }
}

int main(void) {
  zero_sizes();
  overflows();
  calloc_is_zero();
  grow_process();
  zero_sizes();
  overflows();
  calloc_is_zero();
  puts("ok");
  return 0;
}
