// The constructor, and what it decides. See boot.h.
#include "interpose/boot.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <cerrno>
#include <cstdlib>

#include "interpose/heap_route.h"
#include "interpose/loader.h"
#include "job/engine.h"

extern "C" {
// Present when a sanitizer's run time is in the process: it owns malloc and the address space, we stay out.
[[gnu::weak]] void __asan_init();
[[gnu::weak]] void __tsan_init();
[[gnu::weak]] void __msan_init();
[[gnu::weak]] void __hwasan_init();
}

namespace ebb::interpose {

constinit bool g_active = false;
constinit bool g_heap_is_ours = false;
constinit uintptr_t g_loader_begin = 0;
constinit size_t g_loader_bytes = 0;

namespace {

constinit NextFunctions g_next = {};

template <class Function>
void resolve(Function*& slot, const char* name) {
  if (!slot) slot = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// Of the library that an address lies in: the one with the highest base below it.
const link_map* library_of(const link_map* libraries, const void* address) {
  const link_map* found = nullptr;
  for (; libraries; libraries = libraries->l_next)
    if (libraries->l_addr <= reinterpret_cast<uintptr_t>(address) && (!found || libraries->l_addr >= found->l_addr))
      found = libraries;
  return found;
}

// glibc's own: what __libc_malloc gave is glibc's, also where another preloaded allocator comes next. Only then is
// there a need for a dlopen, which takes more than all the rest of a start.
void resolve_usable_size() {
  if (g_next.malloc_usable_size) return;
  void* found = dlsym(RTLD_NEXT, "malloc_usable_size");
  const auto* loader = static_cast<const r_debug*>(dlsym(RTLD_DEFAULT, "_r_debug"));
  const link_map* libraries = loader ? loader->r_map : nullptr;
  if (!libraries || library_of(libraries, found) != library_of(libraries, reinterpret_cast<void*>(__libc_free)))
    if (void* libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD)) found = dlsym(libc, "malloc_usable_size");
  g_next.malloc_usable_size = reinterpret_cast<size_t (*)(void*)>(found);
}

bool sanitizer_present() { return __asan_init || __tsan_init || __msan_init || __hwasan_init; }

// The loader's image, from the kernel's word on where it put it.
void find_loader() {
  const uintptr_t base = getauxval(AT_BASE);
  if (!base) return;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(base);
  const auto* segment = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  size_t end = 0;
  for (unsigned i = 0; i < header->e_phnum; ++i)
    if (segment[i].p_type == PT_LOAD && segment[i].p_vaddr + segment[i].p_memsz > end)
      end = segment[i].p_vaddr + segment[i].p_memsz;
  g_loader_begin = base;
  g_loader_bytes = end;
}

// 101 is the first number that is not the compiler's own: before every other constructor of this library.
[[gnu::constructor(101)]] void boot(int, char**, char** environment) {
  const int saved = errno;
  register_fork_handlers();
  find_loader();
  resolve_dlopen();
  if (!sanitizer_present()) engine::boot(environment);
  if (engine::enabled() && !sanitizer_present()) {
    g_heap_is_ours = heap::exported_heap_is_ours();
    heap::choose_addresses(reinterpret_cast<const unsigned char*>(getauxval(AT_RANDOM)));
    strip_deepbind();
    g_active = true;
  }
  errno = saved;
}

[[gnu::destructor(101)]] void end() {
  if (g_active) engine::at_exit();
}

}  // namespace

const NextFunctions& next() {
  resolve_usable_size();
  resolve(g_next.plain_fork, "_Fork");
  resolve(g_next.register_atfork, "__register_atfork");
  return g_next;
}

}  // namespace ebb::interpose
