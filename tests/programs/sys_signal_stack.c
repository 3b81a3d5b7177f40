/* Checklist 13: signal handlers run on an alternative stack that is cold, and return to what they interrupted. */
/* run: dram=32M cold */
#define _GNU_SOURCE
#include <signal.h>

#include "cold.h"

enum { kStack = 1 << 20 };
static char* g_stack;
static volatile int g_handled;
static volatile char* g_seen;

static void handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  volatile char deep[200 * 1024]; /* many cold pages down */
  for (size_t at = 0; at < sizeof deep; at += 512) deep[at] = (char)at;
  g_seen = deep;
  ++g_handled;
}

int main(void) {
  g_stack = cold_make(kStack, 1);
  const stack_t stack = {.ss_sp = g_stack, .ss_size = kStack};
  EXPECT(sigaltstack(&stack, NULL) == 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  EXPECT(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
  double kept = 1.5;
  for (int round = 0; round < 6; ++round) {
    cold_evict(g_stack, kStack);
    EXPECT(raise(SIGUSR1) == 0);
    kept *= 1.25;
    EXPECT(g_handled == round + 1 && g_seen > (volatile char*)g_stack && g_seen < (volatile char*)g_stack + kStack);
  }
  printf("%.6f\n", kept);
  puts("ok");
  return 0;
}
