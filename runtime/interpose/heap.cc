// The malloc family. The contract is glibc's, bit for bit; where the memory comes from is heap_route.h's business.
//
// Rules: a block costs a comparison and a jump to glibc, or a few loads and stores at the thread's front
// (heap_front.h), and what that does not have a call to memkind. No lock, no dlsym, no stdio. free() keeps errno.
// operator new and delete call these: heap_new.cc.
#include <cerrno>
#include <cstring>

#include "interpose/address_window.h"
#include "interpose/boot.h"
#include "interpose/heap_front.h"
#include "interpose/heap_large.h"
#include "interpose/heap_route.h"

#define EBB_EXPORT [[gnu::visibility("default")]]

namespace {

using namespace ebb::heap;
using ebb::kPageSize;

constexpr size_t kMinAlignment = 16;
// Up to this size calloc takes a kept block and clears it. Of larger ones memkind may know that they are zero.
constexpr size_t kFrontZeroed = size_t{16} << 10;

[[gnu::cold]] void* no_memory() {
  if (!inside_memkind()) errno = ENOMEM;
  return nullptr;
}

inline bool power_of_two(size_t n) { return n && (n & (n - 1)) == 0; }
inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// Whether a thread that lives on memkind takes this one from there.
inline bool from_memkind(size_t bytes, const void* caller) {
  return t_heap.mode == Mode::kMemkind && bytes < kHugeObject && !ebb::interpose::called_by_loader(caller);
}

// The same for what a front may have at hand, or nullptr.
inline Front* front_for(size_t bytes, const void* caller) {
  if (bytes > kFrontMost || t_heap.mode != Mode::kMemkind || ebb::interpose::called_by_loader(caller)) return nullptr;
  return t_heap.front;
}

// `bytes` > 0 here.
//
// memkind needs memory for its own tables even to hand out what it has: at the address space limit glibc may still
// find a block where memkind cannot. So nobody is told "no" before glibc was asked.
[[gnu::noinline]] void* memkind_allocate_class(unsigned c) {
  void* p = take_new(c, false);
  return p ? p : __libc_malloc(kClassBytes[c]);
}

void* memkind_allocate(size_t bytes) {
  if (bytes <= kFrontMost) return memkind_allocate_class(class_of(bytes));
  void* p = in_memkind([=] { return g_backend.allocate(g_backend.kind, bytes); });
  if (!p) return __libc_malloc(bytes);
  note_block(p);
  return p;
}

void* memkind_allocate_zeroed(size_t bytes) {
  if (bytes <= kFrontMost) {
    void* p = take_new(class_of(bytes), true);
    return p ? p : __libc_calloc(1, bytes);
  }
  void* p = in_memkind([=] { return g_backend.allocate_zeroed(g_backend.kind, 1, bytes); });
  if (!p) return __libc_calloc(1, bytes);
  note_block(p);
  return p;
}

// glibc's blocks are aligned to 16 bytes and hold at least as many; memkind's smallest ones are not. This also covers
// sizes of 0, for which memkind has no block.
inline size_t at_least_minimum(size_t bytes) { return larger(bytes, kMinAlignment); }

void* memkind_allocate_aligned(size_t alignment, size_t bytes) {
  void* p = nullptr;
  const int error =
      in_memkind([&] { return g_backend.allocate_aligned(g_backend.kind, &p, alignment, at_least_minimum(bytes)); });
  if (error) return __libc_memalign(alignment, bytes);
  note_block(p);
  return p;
}

void* memkind_resize(void* p, size_t bytes) {
  void* moved = in_memkind([=] { return g_backend.resize(g_backend.kind, p, at_least_minimum(bytes)); });
  if (moved) note_block(moved);
  return moved;
}

Route slow_route(size_t bytes, const void* caller) {
  if (t_heap.mode != Mode::kMemkind) return choose_route(bytes, caller);
  return ebb::interpose::called_by_loader(caller) ? Route::kGlibc : Route::kLarge;
}

void* large(size_t bytes, size_t alignment) {
  void* p = large_allocate(bytes, alignment);
  return p ? p : no_memory();
}

template <bool zeroed>
[[gnu::noinline]] void* allocate_elsewhere(size_t bytes, const void* caller) {
  const Route route = from_memkind(bytes, caller) ? Route::kMemkind : slow_route(bytes, caller);
  switch (route) {
    [[likely]] case Route::kMemkind : return zeroed ? memkind_allocate_zeroed(bytes) : memkind_allocate(bytes);
    case Route::kLarge:
      return large(bytes, 0);
    case Route::kNowhere:
      return nullptr;
    case Route::kGlibc:
      break;
  }
  return zeroed ? __libc_calloc(1, bytes) : __libc_malloc(bytes);
}

// A thread that lives on memkind has no credit. (Its blocks of no bytes still come from glibc, which is as well.)
inline void* allocate(size_t bytes, const void* caller) {
  if (bytes <= t_heap.credit) {
    t_heap.credit -= bytes;
    return __libc_malloc(bytes);
  }
  if (Front* front = front_for(bytes, caller)) [[likely]] {
    const unsigned c = class_of(bytes);
    void* p = front->take(c);
    return p ? p : memkind_allocate_class(c);
  }
  return allocate_elsewhere<false>(bytes, caller);
}

// `alignment` is a power of two.
void* allocate_aligned(size_t alignment, size_t bytes, const void* caller) {
  if (alignment <= kMinAlignment) return allocate(bytes, caller);
  if (from_memkind(bytes, caller)) return memkind_allocate_aligned(alignment, bytes);
  if (bytes > t_heap.credit) {
    switch (slow_route(bytes, caller)) {
      case Route::kMemkind:
        return memkind_allocate_aligned(alignment, bytes);
      case Route::kLarge:
        return large(bytes, alignment);
      case Route::kNowhere:
        return nullptr;
      case Route::kGlibc:
        return __libc_memalign(alignment, bytes);
    }
  }
  t_heap.credit -= bytes;
  return __libc_memalign(alignment, bytes);
}

size_t usable_size(void* p) {
  if (!is_ours(p)) return ebb::interpose::next().malloc_usable_size(p);
  if (is_large(p)) return large_size(p);
  if (const unsigned known = known_class(p)) return kClassBytes[known - 1];
  return in_memkind([=] { return g_backend.usable_size(g_backend.kind, p); });
}

[[gnu::noinline]] void release_to_memkind(void* p) { give_back(p); }

[[gnu::noinline]] void release_large(void* p) {
  if (t_heap.mode == Mode::kGlibc) note_large_free(large_size(p));
  large_free(p);
}

// The front is full.
[[gnu::noinline]] void release_behind_front(Front& front, unsigned c, void* p) {
  if (c >= Front::kFirstLarge && kClassBytes[c] <= Front::kMostLarge) {
    empty_large(front);
    if (front.put(c, p)) return;
  }
  give_back(p);
}

inline void release(void* p) {
  if (!is_ours(p)) return __libc_free(p);
  if (is_large(p)) return release_large(p);
  Front* front = t_heap.front;
  const unsigned known = known_class(p);
  if (!front || !known) return release_to_memkind(p);
  if (!front->put(known - 1, p)) [[unlikely]]
    release_behind_front(*front, known - 1, p);
}

// To wherever an allocation of `bytes` goes now.
void* resize_by_copy(void* p, size_t old_bytes, size_t bytes, const void* caller) {
  void* to = allocate(bytes, caller);
  if (!to) return nullptr;
  std::memcpy(to, p, old_bytes < bytes ? old_bytes : bytes);
  release(p);
  return to;
}

void* resize_ours(void* p, size_t bytes, const void* caller) {
  if (bytes == 0) return release(p), nullptr;
  if (is_large(p)) {
    if (bytes >= kLargeObject)
      if (void* moved = large_resize(p, bytes)) return moved;
    return resize_by_copy(p, large_size(p), bytes, caller);
  }
  const unsigned known = known_class(p);
  if (known && bytes <= kFrontMost) {
    const unsigned c = class_of(bytes);
    if (c == known - 1) return p;
    // Small ones move in any case, and the front is the faster way.
    if (c < Front::kFirstLarge && known - 1 < Front::kFirstLarge)
      return resize_by_copy(p, kClassBytes[known - 1], bytes, caller);
  }
  if (bytes < kHugeObject)
    if (void* moved = memkind_resize(p, bytes)) return moved;
  return resize_by_copy(p, usable_size(p), bytes, caller);
}

[[gnu::noinline]] void* resize_slow(void* p, size_t bytes, const void* caller) {
  if (!p) return allocate(bytes, caller);
  if (is_ours(p)) return resize_ours(p, bytes, caller);
  // glibc's block. A grown process takes it along when it grows; the loader's stays.
  if (bytes == 0 || ebb::interpose::called_by_loader(caller)) return __libc_realloc(p, bytes);
  const size_t old_bytes = usable_size(p);
  if (bytes <= old_bytes) return __libc_realloc(p, bytes);
  if (t_heap.mode != Mode::kMemkind && choose_route(bytes, caller) == Route::kGlibc) return __libc_realloc(p, bytes);
  return resize_by_copy(p, old_bytes, bytes, caller);
}

void* resize(void* p, size_t bytes, const void* caller) {
  if (p && !is_ours(p) && bytes <= t_heap.credit) [[likely]] {
    t_heap.credit -= bytes;
    return __libc_realloc(p, bytes);
  }
  return resize_slow(p, bytes, caller);
}

}  // namespace

#define EBB_CALLER __builtin_return_address(0)

extern "C" {

EBB_EXPORT void* malloc(size_t bytes) noexcept { return allocate(bytes, EBB_CALLER); }

EBB_EXPORT void free(void* p) noexcept { release(p); }
[[gnu::alias("free")]] EBB_EXPORT void cfree(void*) noexcept;

EBB_EXPORT void free_sized(void* p, size_t) noexcept { release(p); }
EBB_EXPORT void free_aligned_sized(void* p, size_t, size_t) noexcept { release(p); }

EBB_EXPORT void* calloc(size_t count, size_t bytes) noexcept {
  size_t total;
  if (__builtin_mul_overflow(count, bytes, &total)) return no_memory();
  if (total <= t_heap.credit) {
    t_heap.credit -= total;
    return __libc_calloc(1, total);
  }
  if (total <= kFrontZeroed)
    if (Front* front = front_for(total, EBB_CALLER))
      if (void* p = front->take(class_of(total))) return std::memset(p, 0, total);
  return allocate_elsewhere<true>(total, EBB_CALLER);
}

EBB_EXPORT void* realloc(void* p, size_t bytes) noexcept { return resize(p, bytes, EBB_CALLER); }

EBB_EXPORT void* reallocarray(void* p, size_t count, size_t bytes) noexcept {
  size_t total;
  if (__builtin_mul_overflow(count, bytes, &total)) return no_memory();
  return resize(p, total, EBB_CALLER);
}

// As glibc 2.36 does it, whose aligned_alloc is its memalign: an odd alignment is rounded up.
EBB_EXPORT void* memalign(size_t alignment, size_t bytes) noexcept {
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  size_t rounded = kMinAlignment;
  while (rounded < alignment) rounded *= 2;
  return allocate_aligned(rounded, bytes, EBB_CALLER);
}
[[gnu::alias("memalign")]] EBB_EXPORT void* aligned_alloc(size_t, size_t) noexcept;

EBB_EXPORT int posix_memalign(void** out, size_t alignment, size_t bytes) noexcept {
  if (!power_of_two(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  void* p = allocate_aligned(alignment, bytes, EBB_CALLER);
  if (!p) return ENOMEM;
  *out = p;
  return 0;
}

EBB_EXPORT void* valloc(size_t bytes) noexcept { return allocate_aligned(kPageSize, bytes, EBB_CALLER); }

EBB_EXPORT void* pvalloc(size_t bytes) noexcept {
  const size_t rounded = ebb::align_up(bytes, kPageSize);
  if (rounded < bytes) return no_memory();
  return allocate_aligned(kPageSize, larger(rounded, kPageSize), EBB_CALLER);
}

EBB_EXPORT size_t malloc_usable_size(void* p) noexcept { return p ? usable_size(p) : 0; }

}  // extern "C"
