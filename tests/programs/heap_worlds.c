/* Checklist 5: blocks that libc allocated for itself, and blocks from before the process had grown, can be freed and
   resized at any time. */
#define _GNU_SOURCE
#include <malloc.h>

#include "expect.h"

void* __libc_malloc(size_t bytes);

enum { kBlocks = 2000 };

static void from_libc(void) {
  char* line = NULL;
  size_t capacity = 0;
  FILE* file = tmpfile();
  EXPECT(file);
  for (int i = 0; i < 200000; ++i) fputs("abcdefghij", file);
  fputc('\n', file);
  rewind(file);
  EXPECT(getline(&line, &capacity, file) == 2000001);
  line = realloc(line, 3000000);
  EXPECT(line && memcmp(line + 1999990, "abcdefghij\n", 11) == 0);
  free(line);
  fclose(file);
  char* text = NULL;
  EXPECT(asprintf(&text, "%0*d", 500, 1) == 500);
  text = realloc(text, 5000);
  EXPECT(text && strlen(text) == 500);
  free(text);
  free(strdup("short"));
  free(escape(__libc_malloc(100)));
  char* p = __libc_malloc(100);
  memset(p, 5, 100);
  p = realloc(p, 1000000);
  EXPECT(p && p[99] == 5);
  free(p);
}

int main(void) {
  static char* before[kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    before[i] = malloc((size_t)i + 1);
    memset(before[i], i, (size_t)i + 1);
  }
  from_libc();
  grow_process();
  from_libc();
  for (int i = 0; i < kBlocks; ++i) {
    if (i % 3 == 0) before[i] = realloc(before[i], (size_t)i * 7 + 10);
    EXPECT(before[i]);
    for (int at = 0; at <= i; ++at) EXPECT(before[i][at] == (char)i);
    free(before[i]);
  }
  puts("ok");
  return 0;
}
