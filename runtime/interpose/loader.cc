// dlopen without RTLD_DEEPBIND. See loader.h.
//
// Rule: the C library looks at its caller's address to find the library whose RUNPATH and namespace count. So this is
// no function but a jump: the return address on the stack stays the program's.
#include "interpose/loader.h"

#include <dlfcn.h>

extern "C" {
void* (*ebb_next_dlopen)(const char*, int) = nullptr;
int ebb_dlopen_mask = ~0;

// Only when somebody's constructor loads a library before ours ran.
[[gnu::used, gnu::visibility("hidden")]] void ebb_resolve_dlopen() { ebb::interpose::resolve_dlopen(); }
}

static_assert(RTLD_DEEPBIND == 8);

asm(R"(
  .text
  .globl dlopen
  .type dlopen, @function
  .balign 16
dlopen:
  endbr64
  andl ebb_dlopen_mask(%rip), %esi
  movq ebb_next_dlopen(%rip), %rax
  testq %rax, %rax
  je 1f
  jmp *%rax
1:
  pushq %rdi
  pushq %rsi
  subq $8, %rsp
  call ebb_resolve_dlopen
  addq $8, %rsp
  popq %rsi
  popq %rdi
  jmp *ebb_next_dlopen(%rip)
  .size dlopen, . - dlopen
)");

namespace ebb::interpose {

void resolve_dlopen() {
  if (!ebb_next_dlopen) ebb_next_dlopen = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
}

void strip_deepbind() { ebb_dlopen_mask = ~RTLD_DEEPBIND; }

}  // namespace ebb::interpose
