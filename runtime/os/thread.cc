// Rules: raw system calls only.
#include "os/thread.h"

#include <linux/prctl.h>
#include <sched.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/units.h"

namespace ebb {
namespace {

constexpr size_t kStack = 256 * 1024, kGuard = kPageSize, kTls = 64 * 1024, kTcb = kPageSize;

struct Start {
  void (*fn)(void*);
  void* argument;
  const char* name;
};

[[noreturn]] void run(Start* start) {
  raw_syscall(SYS_prctl, PR_SET_NAME, as_arg(start->name));
  start->fn(start->argument);
  for (;;) raw_syscall(SYS_exit, 0);
}

}  // namespace

Result<void> start_thread(const char* name, void (*fn)(void*), void* argument) {
  // [guard | stack | static TLS, below the thread pointer | thread control block]; never freed.
  const size_t bytes = kGuard + kStack + kTls + kTcb;
  const long block = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (is_error(block)) return Errno{static_cast<int>(-block)};
  raw_syscall(SYS_mprotect, block, kGuard, PROT_NONE);
  const long tcb = block + static_cast<long>(kGuard + kStack + kTls);
  auto* words = reinterpret_cast<uintptr_t*>(tcb);
  words[0] = static_cast<uintptr_t>(tcb);  // x86-64 psABI: %fs:0 holds the thread pointer itself
  words[2] = static_cast<uintptr_t>(tcb);  // glibc's pointer to the descriptor

  auto* start = reinterpret_cast<Start*>(block + static_cast<long>(kGuard + kStack) - static_cast<long>(sizeof(Start)));
  *start = {fn, argument, name};
  const long stack = static_cast<long>(align_down(reinterpret_cast<uint64_t>(start), 64));
  const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;

  SignalsBlocked blocked;  // inherited by the thread
  long result;
  register long r10 asm("r10") = 0;
  register long r8 asm("r8") = tcb;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %[start], %%rdi\n\t"
      "call *%[entry]\n\t"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(0), "r"(r10), "r"(r8), [start] "r"(start), [entry] "r"(&run)
      : "rcx", "r11", "memory");
  if (is_error(result)) {
    raw_syscall(SYS_munmap, block, static_cast<long>(bytes));
    return Errno{static_cast<int>(-result)};
  }
  return {};
}

}  // namespace ebb
