// mmap and its kin: hand every call to the engine, which does what the system call does and keeps count.
//
// Rules: no lock and no allocation here; may run in signal handlers and before the constructor. Which maps are managed
// is the engine's decision. Calls that come from inside memkind are its extents and go to the heap's addresses; these
// leave errno alone, so that free() does.
#include <sys/mman.h>
#include <cerrno>
#include <cstdarg>

#include "base/syscall.h"
#include "interpose/boot.h"
#include "interpose/heap_route.h"
#include "job/engine.h"

#define EBB_EXPORT [[gnu::visibility("default")]]

namespace {

using ebb::heap::inside_memkind;

void* as_pointer(long result) {
  if (!ebb::is_error(result)) return reinterpret_cast<void*>(result);
  if (!inside_memkind()) errno = static_cast<int>(-result);
  return MAP_FAILED;
}

int as_int(long result) {
  if (!ebb::is_error(result)) return static_cast<int>(result);
  if (!inside_memkind()) errno = static_cast<int>(-result);
  return -1;
}

}  // namespace

extern "C" {

EBB_EXPORT void* mmap(void* address, size_t bytes, int prot, int flags, int fd, off_t offset) noexcept {
  if (inside_memkind() && (flags & MAP_ANONYMOUS) && !(flags & MAP_FIXED)) [[unlikely]]
    return as_pointer(ebb::heap::map_extent(address, bytes, prot, flags));
  return as_pointer(ebb::engine::map(address, bytes, prot, flags, fd, offset));
}

[[gnu::alias("mmap")]] EBB_EXPORT void* mmap64(void*, size_t, int, int, int, off_t) noexcept;

EBB_EXPORT int munmap(void* address, size_t bytes) noexcept { return as_int(ebb::engine::unmap(address, bytes)); }

EBB_EXPORT void* mremap(void* old, size_t old_bytes, size_t bytes, int flags, ...) noexcept {
  void* wanted = nullptr;
  if (flags & (MREMAP_FIXED | 4 /* MREMAP_DONTUNMAP */)) {
    va_list rest;
    va_start(rest, flags);
    wanted = va_arg(rest, void*);
    va_end(rest);
  }
  return as_pointer(ebb::engine::remap(old, old_bytes, bytes, flags, wanted));
}

EBB_EXPORT int madvise(void* address, size_t bytes, int advice) noexcept {
  return as_int(ebb::engine::advise(address, bytes, advice));
}

EBB_EXPORT int posix_madvise(void* address, size_t bytes, int advice) noexcept {
  // glibc takes POSIX_MADV_DONTNEED for the hint that it is: the contents must stay.
  if (advice == POSIX_MADV_DONTNEED) return 0;
  const long result = ebb::engine::advise(address, bytes, advice);
  return ebb::is_error(result) ? static_cast<int>(-result) : 0;
}

EBB_EXPORT int mprotect(void* address, size_t bytes, int prot) noexcept {
  return as_int(ebb::engine::protect(address, bytes, prot));
}

EBB_EXPORT int pkey_mprotect(void* address, size_t bytes, int prot, int key) noexcept {
  if (key == -1) return as_int(ebb::engine::protect(address, bytes, prot));
  return as_int(ebb::engine::protect_key(address, bytes, prot, key));
}

EBB_EXPORT int mlock(const void* address, size_t bytes) noexcept {
  return as_int(ebb::engine::lock(const_cast<void*>(address), bytes, 0));
}

EBB_EXPORT int mlock2(const void* address, size_t bytes, unsigned flags) noexcept {
  return as_int(ebb::engine::lock(const_cast<void*>(address), bytes, flags));
}

EBB_EXPORT int munlock(const void* address, size_t bytes) noexcept {
  return as_int(ebb::engine::unlock(const_cast<void*>(address), bytes));
}

EBB_EXPORT int munlockall() noexcept { return as_int(ebb::engine::unlock_all()); }

EBB_EXPORT int mlockall(int flags) noexcept { return as_int(ebb::engine::lock_all(flags)); }

EBB_EXPORT int mincore(void* address, size_t bytes, unsigned char* vector) noexcept {
  return as_int(ebb::engine::resident(address, bytes, vector));
}

}  // extern "C"
