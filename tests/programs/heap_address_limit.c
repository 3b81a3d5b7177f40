/* Checklist 32: under RLIMIT_AS malloc and mmap fail with ENOMEM in time, and what was there stays usable. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "expect.h"

int main(void) {
  const struct rlimit limit = {(rlim_t)600 << 20, (rlim_t)600 << 20};
  EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
  static const size_t sizes[] = {1000, 50000, 500000, 3 << 20, 50 << 20};
  for (unsigned k = 0; k < sizeof sizes / sizeof sizes[0]; ++k) {
    const size_t bytes = sizes[k];
    void* first = NULL; /* a list through the blocks */
    size_t count = 0;
    for (void* p; (errno = 0, p = malloc(bytes)) != NULL; first = p, ++count) {
      memcpy(p, &first, sizeof first);
      EXPECT(count * bytes < (size_t)600 << 20);
    }
    EXPECT(errno == ENOMEM);
    EXPECT(mmap(NULL, (size_t)1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    EXPECT(errno == ENOMEM);
    while (first) {
      void* next;
      memcpy(&next, first, sizeof next);
      free(first);
      first = next;
    }
    /* The runtime needs up to 256 MiB of address space for itself; the rest can be had. */
    if (bytes < (size_t)50 << 20 && k == 0) EXPECT(count * bytes > (size_t)200 << 20);
    void* again = malloc(100);
    EXPECT(again);
    free(again);
  }
  puts("ok");
  return 0;
}
