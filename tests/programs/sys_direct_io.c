/* Checklist 13: O_DIRECT reads into and writes from cold pages, while two threads keep the evictor busy on the same pages. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "cold.h"

enum { kBytes = 8 << 20, kPart = 512 << 10 };
static atomic_int g_stop;

static void* press(void* unused) {
  (void)unused;
  while (!g_stop) cold_press();
  return NULL;
}

int main(void) {
  const int fd = cold_file_with(kBytes, 1, O_DIRECT);
  if (fd < 0) {
    puts("no O_DIRECT on this file system");
    return 77;
  }
  char* p = cold_make(kBytes, 9);
  pthread_t other;
  EXPECT(pthread_create(&other, NULL, press, NULL) == 0);
  for (unsigned round = 0; round < 12; ++round) {
    for (size_t at = 0; at < kBytes; at += kPart) EXPECT(pread(fd, p + at, kPart, (off_t)at) == kPart);
    EXPECT_FILLED(p, kBytes, 1 + round);
    cold_fill(p, kBytes, 2 + round);
    if (round % 4 == 3) cold_press();
    for (size_t at = 0; at < kBytes; at += kPart) EXPECT(pwrite(fd, p + at, kPart, (off_t)at) == kPart);
    memset(p, 0, kBytes);
  }
  g_stop = 1;
  EXPECT(pthread_join(other, NULL) == 0);
  puts("ok");
  return 0;
}
