/* Checklist 13: io_submit and io_getevents with control blocks, events and data in cold memory. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <linux/aio_abi.h>
#include <sys/syscall.h>

#include "cold.h"

enum { kBytes = 4 << 20, kPart = 64 << 10, kParts = kBytes / kPart };

struct Call {
  _Alignas(4096) struct iocb block[kParts];
  _Alignas(4096) struct iocb* list[kParts];
  _Alignas(4096) struct io_event event[kParts];
};

static void run(aio_context_t context, struct Call* c, int fd, char* p, int code) {
  for (int i = 0; i < kParts; ++i) {
    c->block[i] = (struct iocb){.aio_lio_opcode = (uint16_t)code, .aio_fildes = (uint32_t)fd,
                                .aio_buf = (uintptr_t)(p + (size_t)i * kPart), .aio_nbytes = kPart,
                                .aio_offset = (int64_t)i * kPart};
    c->list[i] = &c->block[i];
  }
  cold_evict(c, sizeof *c);
  cold_evict(p, kBytes);
  EXPECT(syscall(SYS_io_submit, context, kParts, c->list) == kParts);
  EXPECT(syscall(SYS_io_getevents, context, kParts, kParts, c->event, NULL) == kParts);
  for (int i = 0; i < kParts; ++i) EXPECT(c->event[i].res == kPart);
}

int main(void) {
  aio_context_t context = 0;
  EXPECT(syscall(SYS_io_setup, kParts, &context) == 0);
  int fd = cold_file_with(kBytes, 1, O_DIRECT);
  if (fd < 0) fd = cold_file_with(kBytes, 1, 0);
  struct Call* c = (struct Call*)cold_map(MIB);
  char* p = cold_map(kBytes);
  run(context, c, fd, p, IOCB_CMD_PREAD);
  EXPECT_FILLED(p, kBytes, 1);
  cold_fill(p, kBytes, 2);
  run(context, c, fd, p, IOCB_CMD_PWRITE);
  memset(p, 0, kBytes);
  run(context, c, fd, p, IOCB_CMD_PREAD);
  EXPECT_FILLED(p, kBytes, 2);
  EXPECT(syscall(SYS_io_destroy, context) == 0);
  puts("ok");
  return 0;
}
