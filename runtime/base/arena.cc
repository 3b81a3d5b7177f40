#include "base/arena.h"

#include <sys/mman.h>
#include <bit>

#include "base/syscall.h"

namespace ebb {
namespace {

void* map_pages(size_t bytes) {
  const long r =
      raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return is_error(r) ? nullptr : reinterpret_cast<void*>(r);
}

}  // namespace

unsigned Arena::class_of(size_t bytes) {
  const unsigned shift = bytes <= 1 ? 0 : static_cast<unsigned>(std::bit_width(bytes - 1));
  return shift < kMinShift ? kMinShift : shift;
}

void* Arena::allocate(size_t bytes) {
  const unsigned shift = class_of(bytes);
  if (shift > kMaxShift) {
    const size_t whole = align_up(bytes, kPageSize);
    void* p = map_pages(whole);
    if (p) used_ += Bytes{whole};
    return p;
  }
  void* p = nullptr;
  if (free_[shift] || split_for(shift)) {
    FreeNode* node = free_[shift];
    free_[shift] = node->next;
    __builtin_memset(static_cast<void*>(node), 0, size_t{1} << shift);
    p = node;
  } else {
    p = carve(shift);
  }
  if (p) used_ += Bytes{size_t{1} << shift};
  return p;
}

bool Arena::reserve(size_t bytes) {
  if (slab_left_ >= bytes) return true;
  char* fresh = static_cast<char*>(map_pages(align_up(bytes, kPageSize)));
  if (!fresh) return false;
  keep_for_later(slab_left_);
  slab_ = fresh;
  slab_left_ = align_up(bytes, kPageSize);
  return true;
}

void Arena::release(void* p, size_t bytes) {
  if (!p) return;
  const unsigned shift = class_of(bytes);
  if (shift > kMaxShift) {
    const size_t whole = align_up(bytes, kPageSize);
    raw_syscall(SYS_munmap, as_arg(p), static_cast<long>(whole));
    used_ = used_ - Bytes{whole};
    return;
  }
  free_[shift] = new (p) FreeNode{free_[shift]};
  used_ = used_ - Bytes{size_t{1} << shift};
}

// Halves a larger free piece, but none of a page or more: those are wanted whole again.
bool Arena::split_for(unsigned shift) {
  unsigned at = shift + 1;
  while (at < kPageShift && !free_[at]) ++at;
  if (at >= kPageShift) return false;
  char* piece = reinterpret_cast<char*>(free_[at]);
  free_[at] = free_[at]->next;
  while (at-- > shift) free_[at] = new (piece + (size_t{1} << at)) FreeNode{free_[at]};
  free_[shift] = new (piece) FreeNode{free_[shift]};
  return true;
}

// Cuts from the current slab, aligned to the class (at most a page: slabs are page-aligned).
void* Arena::carve(unsigned shift) {
  const size_t bytes = size_t{1} << shift;
  const size_t alignment = bytes < kPageSize ? bytes : kPageSize;
  size_t skip = align_up(reinterpret_cast<uintptr_t>(slab_), alignment) - reinterpret_cast<uintptr_t>(slab_);
  if (skip + bytes > slab_left_) {
    char* fresh = static_cast<char*>(map_pages(kSlab));
    if (!fresh) return nullptr;
    keep_for_later(slab_left_);
    slab_ = fresh;
    slab_left_ = kSlab;
    skip = 0;
  }
  keep_for_later(skip);
  char* p = slab_;
  slab_ = p + bytes;
  slab_left_ -= bytes;
  return p;
}

// Passes over `bytes` of the slab; they go to the free lists, in as large pieces as their place allows.
void Arena::keep_for_later(size_t bytes) {
  slab_left_ -= bytes;
  while (bytes >> kMinShift) {
    const unsigned at = static_cast<unsigned>(std::countr_zero(reinterpret_cast<uintptr_t>(slab_)));
    const unsigned left = static_cast<unsigned>(std::bit_width(bytes)) - 1;
    unsigned shift = at < left ? at : left;
    if (shift > kMaxShift) shift = kMaxShift;
    free_[shift] = new (slab_) FreeNode{free_[shift]};
    slab_ += size_t{1} << shift;
    bytes -= size_t{1} << shift;
  }
}

}  // namespace ebb
