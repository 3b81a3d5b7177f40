// Units of the runtime: bytes, pages, addresses and ranges of them, so that a count of pages is never taken for a
// count of bytes and an address is never taken for either.
//
// All types are plain values: trivially copyable, no allocation, usable anywhere.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace ebb {

inline constexpr size_t kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;  // the unit of truth
inline constexpr size_t kExtentShift = 21;
inline constexpr size_t kExtentSize = size_t{1} << kExtentShift;    // the unit of state, and one huge page
inline constexpr size_t kPagesPerExtent = kExtentSize / kPageSize;  // 512
inline constexpr size_t kPagesPerBlock = 16;                        // 64 KiB, the unit of fault-around

// A number of 4 KiB pages.
struct Pages {
  uint64_t count = 0;
  constexpr auto operator<=>(const Pages&) const = default;
  constexpr Pages operator+(Pages o) const { return {count + o.count}; }
  constexpr Pages operator-(Pages o) const { return {count - o.count}; }
  constexpr Pages& operator+=(Pages o) {
    count += o.count;
    return *this;
  }
  constexpr Pages& operator-=(Pages o) {
    count -= o.count;
    return *this;
  }
};

// A number of bytes.
struct Bytes {
  uint64_t count = 0;
  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes operator+(Bytes o) const { return {count + o.count}; }
  constexpr Bytes operator-(Bytes o) const { return {count - o.count}; }
  constexpr Bytes& operator+=(Bytes o) {
    count += o.count;
    return *this;
  }
};

constexpr Bytes to_bytes(Pages p) { return {p.count << kPageShift}; }
// Whole pages that cover `b`.
constexpr Pages pages_covering(Bytes b) { return {(b.count + kPageSize - 1) >> kPageShift}; }
constexpr Pages whole_extents(uint64_t n) { return {n * kPagesPerExtent}; }

constexpr uint64_t align_down(uint64_t v, uint64_t to) { return v & ~(to - 1); }
constexpr uint64_t align_up(uint64_t v, uint64_t to) { return (v + to - 1) & ~(to - 1); }

// A virtual address of this process.
struct Address {
  uintptr_t value = 0;
  constexpr auto operator<=>(const Address&) const = default;
  constexpr Address operator+(uint64_t bytes) const { return {value + bytes}; }
  constexpr Address operator-(uint64_t bytes) const { return {value - bytes}; }
  constexpr uint64_t operator-(Address o) const { return value - o.value; }
  constexpr Address page() const { return {align_down(value, kPageSize)}; }
  constexpr Address extent() const { return {align_down(value, kExtentSize)}; }
  constexpr unsigned page_in_extent() const { return static_cast<unsigned>((value >> kPageShift) % kPagesPerExtent); }
  template <class T = void>
  T* pointer() const {
    return reinterpret_cast<T*>(value);
  }
};

inline Address address_of(const void* p) { return {reinterpret_cast<uintptr_t>(p)}; }

// [begin, end): page-aligned unless said otherwise.
struct AddressRange {
  Address begin;
  Address end;
  constexpr bool operator==(const AddressRange&) const = default;
  constexpr uint64_t size() const { return end.value - begin.value; }
  constexpr Pages pages() const { return {size() >> kPageShift}; }
  constexpr bool empty() const { return begin.value >= end.value; }
  constexpr bool contains(Address a) const { return a >= begin && a < end; }
  constexpr bool contains(AddressRange r) const { return r.begin >= begin && r.end <= end; }
  constexpr bool overlaps(AddressRange r) const { return r.begin < end && begin < r.end; }
  constexpr AddressRange intersect(AddressRange r) const {
    return {begin > r.begin ? begin : r.begin, end < r.end ? end : r.end};
  }
};

// All of user space.
inline constexpr AddressRange kAllAddresses{{kPageSize}, {uintptr_t{1} << 47}};

constexpr AddressRange range_at(Address begin, uint64_t bytes) { return {begin, begin + bytes}; }

}  // namespace ebb
