// Arena: the runtime's own memory. Nothing below the interposer allocates from memory that the runtime manages, so all
// its tables live here: anonymous mappings made by raw system calls, cut into power-of-two classes with free lists.
//
// Not thread-safe: each arena belongs to whoever holds the lock of the structure that uses it. Copied by fork like any
// private memory, which is what gives a fork child an exact copy of the parent's tables.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "base/units.h"

namespace ebb {

class Arena {
 public:
  constexpr Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() = default;  // never unmaps: the process is ending, and others may still hold pointers

  // Zeroed memory, aligned to the smaller of its class and a page; nullptr when the kernel refuses.
  void* allocate(size_t bytes);
  // `bytes` as it was asked for.
  void release(void* p, size_t bytes);

  // Has at least so many bytes of address space at hand from now on, so that later allocations do not fail for a limit
  // on it. False when there is no such piece.
  bool reserve(size_t bytes);

  template <class T, class... Args>
  T* make(Args&&... args) {
    void* p = allocate(sizeof(T));
    return p ? new (p) T(std::forward<Args>(args)...) : nullptr;
  }
  template <class T>
  void destroy(T* p) {
    if (!p) return;
    p->~T();
    release(p, sizeof(T));
  }
  template <class T>
  T* make_array(size_t n) {
    return static_cast<T*>(allocate(n * sizeof(T)));
  }

  // Bytes handed out and not given back, rounded up to their classes.
  Bytes used() const { return used_; }

 private:
  static constexpr unsigned kMinShift = 6, kMaxShift = 18;  // 64 B to 256 KiB; larger ones are mapped each for itself
  static constexpr size_t kSlab = size_t{1} << 20;
  struct FreeNode {
    FreeNode* next;
  };

  static unsigned class_of(size_t bytes);
  bool split_for(unsigned shift);
  void* carve(unsigned shift);
  void keep_for_later(size_t bytes);

  FreeNode* free_[kMaxShift + 1] = {};
  char* slab_ = nullptr;
  size_t slab_left_ = 0;
  Bytes used_{};
};

// A growing array in an arena. Elements are moved with memcpy, so only trivially copyable ones.
template <class T>
class ArenaVector {
  static_assert(__is_trivially_copyable(T));

 public:
  explicit constexpr ArenaVector(Arena& arena) : arena_(&arena) {}
  ArenaVector(const ArenaVector&) = delete;
  ArenaVector& operator=(const ArenaVector&) = delete;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  void clear() { size_ = 0; }
  void pop_back() { --size_; }

  // False when there is no memory; the vector is unchanged then.
  [[nodiscard]] bool reserve(size_t n) {
    if (n <= capacity_) return true;
    size_t wanted = capacity_ ? capacity_ * 2 : 16;
    while (wanted < n) wanted *= 2;
    T* grown = arena_->make_array<T>(wanted);
    if (!grown) return false;
    if (size_) __builtin_memcpy(grown, data_, size_ * sizeof(T));
    if (data_) arena_->release(data_, capacity_ * sizeof(T));
    data_ = grown;
    capacity_ = wanted;
    return true;
  }
  [[nodiscard]] bool push_back(const T& v) { return insert(size_, v); }
  [[nodiscard]] bool insert(size_t at, const T& v) {
    const T copy = v;
    if (!reserve(size_ + 1)) return false;
    __builtin_memmove(data_ + at + 1, data_ + at, (size_ - at) * sizeof(T));
    data_[at] = copy;
    ++size_;
    return true;
  }
  void erase(size_t at, size_t n = 1) {
    __builtin_memmove(data_ + at, data_ + at + n, (size_ - at - n) * sizeof(T));
    size_ -= n;
  }

 private:
  Arena* arena_;
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace ebb
