/* Checklist 3: every aligned entry point, alignments from 0 and odd ones to 64 MiB, small, large and huge blocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>

#include "expect.h"

static void fill_and_free(void* p, size_t alignment, size_t bytes) {
  EXPECT(p && (uintptr_t)p % alignment == 0);
  EXPECT(malloc_usable_size(p) >= bytes);
  if (bytes) {
    ((char*)p)[0] = 1;
    ((char*)p)[bytes - 1] = 1;
  }
  free(p);
}

static void all(void) {
  static const size_t sizes[] = {0, 1, 24, 1000, 5000, 100000, 1 << 20, 3 << 20, 33 << 20};
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    const size_t bytes = hidden(sizes[i]);
    for (size_t alignment = 1; alignment <= (size_t)64 << 20; alignment *= 2) {
      fill_and_free(memalign(alignment, bytes), alignment, bytes);
      fill_and_free(aligned_alloc(alignment, bytes), alignment, bytes);
      void* p = NULL;
      const int error = posix_memalign(&p, alignment, bytes);
      EXPECT(error == (alignment < sizeof(void*) ? EINVAL : 0));
      if (!error) fill_and_free(p, alignment, bytes);
      else EXPECT(p == NULL);
    }
    fill_and_free(valloc(bytes), 4096, bytes);
    fill_and_free(pvalloc(bytes), 4096, (bytes + 4095) / 4096 * 4096);
  }
  void* untouched = &untouched;
  errno = 77;
  EXPECT(posix_memalign(&untouched, hidden(0), 8) == EINVAL && posix_memalign(&untouched, hidden(24), 8) == EINVAL);
  EXPECT(untouched == &untouched && errno == 77);
  fill_and_free(memalign(hidden(48), 100), 64, 100);
  errno = 0;
  EXPECT(escape(memalign(hidden(SIZE_MAX / 2 + 2), 1)) == NULL && errno == EINVAL);
  errno = 0;
  EXPECT(escape(pvalloc(hidden(SIZE_MAX - 10))) == NULL && errno == ENOMEM);
}

int main(void) {
  all();
  grow_process();
  all();
  puts("ok");
  return 0;
}
