// operator new and delete in every form. They do what libstdc++'s do: the plain ones are malloc and free, the others
// call these, so what a program replaces of them stays in force for all. They are here since the allocators that a
// program may be linked with (jemalloc, tcmalloc, mimalloc) bring their own beside malloc: with only malloc taken over,
// what comes from one heap would go back to another (Debian's salmon frees what it got from new).
//
// Rules: those of heap.cc. malloc and free are called by name, for the program may export its own. Nothing is thrown
// from here: once malloc has nothing, the standard library's function is asked, which asks malloc again, calls the
// new-handler and throws. That passes through here, so this file has unwind tables.
#include <dlfcn.h>
#include <cstdlib>
#include <new>

#include "base/log.h"

namespace {

using std::align_val_t;
using std::nothrow_t;
using std::size_t;

// The result of the standard library's function of this mangled name; nullptr without one. Found when it is needed:
// that library may have been loaded by a plugin, where nobody else sees its symbols.
template <class... Arguments>
[[gnu::cold]] void* standard(const char* name, const Arguments&... arguments) {
  for (const char* file : {"libstdc++.so.6", "libc++.so.1"}) {
    void* library = dlopen(file, RTLD_LAZY | RTLD_NOLOAD);  // stays open: its function is about to run
    if (auto* function = library ? reinterpret_cast<void* (*)(Arguments...)>(dlsym(library, name)) : nullptr)
      return function(arguments...);
  }
  return nullptr;
}

// A plain form returns memory or throws.
[[gnu::cold]] void* thrown(void* memory) {
  if (memory) return memory;
  ebb::log_line(ebb::LogLevel::kError, "no memory for operator new, and no standard library that could throw");
  std::abort();
}

void* allocate(size_t bytes) { return malloc(bytes ? bytes : 1); }

void* allocate(size_t bytes, align_val_t alignment) {
  void* p = nullptr;
  const auto to = static_cast<size_t>(alignment);
  return posix_memalign(&p, to < sizeof p ? sizeof p : to, bytes ? bytes : 1) ? nullptr : p;
}

// The plain forms of this file, whatever the program has in their place. The nothrow forms call a replaced one and
// catch what it throws; that is for the standard library, too.
[[gnu::alias("_Znwm"), gnu::visibility("hidden"), gnu::malloc, gnu::alloc_size(1)]] void* one_here(size_t);
[[gnu::alias("_Znam"), gnu::visibility("hidden"), gnu::malloc, gnu::alloc_size(1)]] void* array_here(size_t);
[[gnu::alias("_ZnwmSt11align_val_t"), gnu::visibility("hidden"), gnu::malloc,
  gnu::alloc_size(1)]] void* aligned_one_here(size_t, align_val_t);
[[gnu::alias("_ZnamSt11align_val_t"), gnu::visibility("hidden"), gnu::malloc,
  gnu::alloc_size(1)]] void* aligned_array_here(size_t, align_val_t);

using Plain = void*(size_t);
using Aligned = void*(size_t, align_val_t);
bool one_is_ours() { return static_cast<Plain*>(::operator new) == one_here; }
bool array_is_ours() { return one_is_ours() && static_cast<Plain*>(::operator new[]) == array_here; }
bool aligned_one_is_ours() { return static_cast<Aligned*>(::operator new) == aligned_one_here; }
bool aligned_array_is_ours() {
  return aligned_one_is_ours() && static_cast<Aligned*>(::operator new[]) == aligned_array_here;
}

}  // namespace

void* operator new(size_t n) {
  void* p = allocate(n);
  return p ? p : thrown(standard("_Znwm", n));
}
void* operator new(size_t n, align_val_t a) {
  void* p = allocate(n, a);
  return p ? p : thrown(standard("_ZnwmSt11align_val_t", n, a));
}
void* operator new[](size_t n) { return ::operator new(n); }
void* operator new[](size_t n, align_val_t a) { return ::operator new(n, a); }

void* operator new(size_t n, const nothrow_t& tag) noexcept {
  void* p = one_is_ours() ? allocate(n) : nullptr;
  return p ? p : standard("_ZnwmRKSt9nothrow_t", n, &tag);
}
void* operator new[](size_t n, const nothrow_t& tag) noexcept {
  void* p = array_is_ours() ? allocate(n) : nullptr;
  return p ? p : standard("_ZnamRKSt9nothrow_t", n, &tag);
}
void* operator new(size_t n, align_val_t a, const nothrow_t& tag) noexcept {
  void* p = aligned_one_is_ours() ? allocate(n, a) : nullptr;
  return p ? p : standard("_ZnwmSt11align_val_tRKSt9nothrow_t", n, a, &tag);
}
void* operator new[](size_t n, align_val_t a, const nothrow_t& tag) noexcept {
  void* p = aligned_array_is_ours() ? allocate(n, a) : nullptr;
  return p ? p : standard("_ZnamSt11align_val_tRKSt9nothrow_t", n, a, &tag);
}

void operator delete(void* p) noexcept { free(p); }
void operator delete(void* p, align_val_t) noexcept { free(p); }
void operator delete[](void* p) noexcept { ::operator delete(p); }
void operator delete[](void* p, align_val_t a) noexcept { ::operator delete(p, a); }
void operator delete(void* p, size_t) noexcept { ::operator delete(p); }
void operator delete[](void* p, size_t) noexcept { ::operator delete[](p); }
void operator delete(void* p, size_t, align_val_t a) noexcept { ::operator delete(p, a); }
void operator delete[](void* p, size_t, align_val_t a) noexcept { ::operator delete[](p, a); }
void operator delete(void* p, const nothrow_t&) noexcept { ::operator delete(p); }
void operator delete[](void* p, const nothrow_t&) noexcept { ::operator delete[](p); }
void operator delete(void* p, align_val_t a, const nothrow_t&) noexcept { ::operator delete(p, a); }
void operator delete[](void* p, align_val_t a, const nothrow_t&) noexcept { ::operator delete[](p, a); }
