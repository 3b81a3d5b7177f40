/* Checklist 4: free() leaves errno alone, whatever it does underneath. */
#include <errno.h>

#include "expect.h"

static void rounds(void) {
  static const size_t sizes[] = {1, 1000, 40000, 400000, 1 << 20, 5 << 20, 60 << 20};
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
    for (int round = 0; round < 20; ++round) {
      void* p = malloc(sizes[i]);
      EXPECT(p);
      memset(p, round, sizes[i] < 100000 ? sizes[i] : 100000);
      errno = 4711;
      free(p);
      EXPECT(errno == 4711);
    }
}

int main(void) {
  rounds();
  grow_process();
  rounds();
  puts("ok");
  return 0;
}
