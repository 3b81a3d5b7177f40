// Raw system calls without libc: no errno, no TLS, no cancellation point, no interposed symbol in between.
//
// Rules: usable before relocation of other libraries, in signal handlers, in a vfork child and in the pager's thread,
// which has no libc state at all. Returns what the kernel returns: a value, or -errno.
#pragma once

#include <sys/syscall.h>
#include <cstdint>

namespace ebb {

inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#else
#error "Ebbtide supports x86-64 only for now"
#endif
}

inline bool is_error(long result) { return static_cast<unsigned long>(result) > -4096UL; }

template <class T>
long as_arg(T* p) {
  return static_cast<long>(reinterpret_cast<uintptr_t>(p));
}

}  // namespace ebb
