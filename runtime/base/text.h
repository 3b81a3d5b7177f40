// TextBuffer: formats a line into a fixed buffer. No allocation, no locale, no libc; what does not fit is cut.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace ebb {

struct Hex {
  uint64_t value;
};

template <unsigned kCapacity>
class TextBuffer {
 public:
  TextBuffer& operator<<(std::string_view s) {
    for (char c : s) put(c);
    return *this;
  }
  TextBuffer& operator<<(const char* s) { return *this << (s ? std::string_view(s) : std::string_view("(null)")); }
  TextBuffer& operator<<(char c) { return put(c), *this; }
  TextBuffer& operator<<(uint64_t v) { return digits(v, 10), *this; }
  TextBuffer& operator<<(unsigned v) { return digits(v, 10), *this; }
  TextBuffer& operator<<(long v) { return *this << static_cast<long long>(v); }
  TextBuffer& operator<<(int v) { return *this << static_cast<long long>(v); }
  TextBuffer& operator<<(long long v) {
    if (v < 0) put('-');
    return digits(v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v), 10), *this;
  }
  TextBuffer& operator<<(Hex v) {
    *this << "0x";
    return digits(v.value, 16), *this;
  }
  TextBuffer& operator<<(Address a) { return *this << Hex{a.value}; }
  // Binary units with one decimal: "1.5 GiB".
  TextBuffer& operator<<(Bytes b) {
    static constexpr const char* kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    unsigned unit = 0;
    uint64_t whole = b.count, rest = 0;
    while (whole >= 1024 && unit < 5) {
      rest = whole % 1024;
      whole /= 1024;
      ++unit;
    }
    digits(whole, 10);
    if (unit) {
      put('.');
      digits(rest * 10 / 1024, 10);
    }
    return *this << kUnits[unit];
  }

  std::string_view view() const { return {text_, size_}; }
  // NUL-terminated; room for the terminator is always kept.
  const char* c_str() {
    text_[size_] = 0;
    return text_;
  }
  bool full() const { return size_ == kCapacity - 1; }

 private:
  void put(char c) {
    if (size_ < kCapacity - 1) text_[size_++] = c;
  }
  void digits(uint64_t v, unsigned base) {
    char reversed[20];
    unsigned n = 0;
    do reversed[n++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (n) put(reversed[--n]);
  }

  char text_[kCapacity];
  unsigned size_ = 0;
};

}  // namespace ebb
