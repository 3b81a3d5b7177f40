/* Checklist 17: cold pages made inaccessible, read-only or executable fault as they should and come back whole. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "cold.h"

static sigjmp_buf g_back;
static void* volatile g_address;
static volatile int g_code;

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  g_address = info->si_addr;
  g_code = info->si_code;
  siglongjmp(g_back, 1);
}

#define EXPECT_SEGV(at, access)                             \
  do {                                                      \
    volatile int faulted_ = 1;                              \
    if (sigsetjmp(g_back, 1) == 0) {                        \
      access;                                               \
      faulted_ = 0;                                         \
    }                                                       \
    EXPECT(faulted_ && g_address == (void*)(at) && g_code == SEGV_ACCERR); \
  } while (0)

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
  const size_t bytes = 16 * MIB;
  char* p = cold_make(bytes, 1);
  volatile char* none = p + 2 * MIB;
  volatile char* read_only = p + 6 * MIB + 5 * PAGE;
  volatile char sink = 0;
  for (int round = 0; round < 3; ++round) {
    EXPECT(mprotect(p + 2 * MIB, 3 * MIB, PROT_NONE) == 0);
    EXPECT(mprotect(p + 6 * MIB, 3 * MIB, PROT_READ) == 0);
    EXPECT(mprotect(p + 10 * MIB, MIB, PROT_READ | PROT_EXEC) == 0);
    cold_press();
    for (volatile size_t at = 0; at < 3 * MIB; at += 37 * PAGE) {
      EXPECT_SEGV(none + at, sink = none[at]);
      EXPECT_SEGV(none + at, none[at] = 1);
    }
    for (volatile size_t at = 0; at < 2 * MIB; at += 37 * PAGE) EXPECT_SEGV(read_only + at, read_only[at] = 1);
    EXPECT_FILLED_FROM(p + 6 * MIB, 3 * MIB, 1, 6 * MIB); /* reading is allowed */
    EXPECT_FILLED_FROM(p + 10 * MIB, MIB, 1, 10 * MIB);
    EXPECT_FILLED(p, 2 * MIB, 1);
    EXPECT(mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0);
    EXPECT_FILLED(p, bytes, 1);
    cold_evict(p, bytes);
  }
  /* System calls into protected memory: EFAULT, as ever. */
  EXPECT(mprotect(p, MIB, PROT_READ) == 0 && mprotect(p + MIB, MIB, PROT_NONE) == 0);
  const int zero = open("/dev/zero", O_RDWR);
  EXPECT(zero >= 0 && read(zero, p, PAGE) == -1 && read(zero, p + MIB, PAGE) == -1);
  EXPECT(mprotect(p, 2 * MIB, PROT_READ | PROT_WRITE) == 0);
  EXPECT_FILLED(p, bytes, 1);
  (void)sink;
  puts("ok");
  return 0;
}
