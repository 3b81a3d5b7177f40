// Region: a mapping and what ought to be in each of its pages. The model is plain shared memory of the fuzzer (small
// allocations; a vector per region), never larger than a thousandth of what it describes.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "page_pattern.h"

namespace fuzz {

[[noreturn]] inline void fail(const char* what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
  std::fprintf(stderr, "model_fuzz: %s (%llu, %llu, %llu)\n", what, static_cast<unsigned long long>(a),
               static_cast<unsigned long long>(b), static_cast<unsigned long long>(c));
  std::abort();
}

enum class Access : uint8_t { kAll, kReadOnly, kNone };

struct Expected {
  uint32_t version = 0;     // what was written last; 0: zeros
  bool maybe_zero = false;  // after MADV_FREE: the version or zeros
  bool mapped = true;
  Access access = Access::kAll;
};

class Region {
 public:
  Region(uint32_t id, char* base, size_t pages) : id_(id), base_(base), pages_(pages) {}

  uint32_t id() const { return id_; }
  char* base() const { return base_; }
  char* at(size_t page) const { return base_ + page * kPage; }
  size_t size() const { return pages_.size(); }
  Expected& operator[](size_t page) { return pages_[page]; }

  void moved_to(char* base) { base_ = base; }
  void resize(size_t pages) { pages_.resize(pages); }

  bool whole() const {
    for (const auto& p : pages_)
      if (!p.mapped || p.access != Access::kAll) return false;
    return true;
  }

  void write(size_t page) {
    Expected& e = pages_[page];
    if (!e.mapped || e.access != Access::kAll) return;
    // Over zeros or the older version: both leave exactly the new marks in place only if the rest is known, so the
    // whole page is checked first.
    check(page);
    ++next_version_;
    write_page(at(page), id_of(page, next_version_));
    e.version = next_version_;
    e.maybe_zero = false;
  }

  // The one place where memory and model are compared.
  void check(size_t page) {
    Expected& e = pages_[page];
    if (!e.mapped || e.access == Access::kNone) return;
    if (holds(at(page), id_of(page, e.version))) return;
    if (e.maybe_zero && holds(at(page), id_of(page, 0))) {
      e = {0, false, true, e.access};
      return;
    }
    const auto* word = reinterpret_cast<const uint64_t*>(at(page));
    std::fprintf(
        stderr,
        "MISMATCH: region %u page %zu of %zu at %p: expected version %u%s; found region %llu page %llu version %llu "
        "in its label, marks:",
        id_, page, size(), static_cast<void*>(at(page)), e.version, e.maybe_zero ? " or zeros" : "",
        static_cast<unsigned long long>(word[0] >> 44), static_cast<unsigned long long>(word[0] >> 24 & 0xfffff),
        static_cast<unsigned long long>(word[0] & 0xffffff));
    for (size_t m = 0; m < kMarks; ++m) {
      const size_t i = mark_at(static_cast<uint32_t>(page), m);
      const uint64_t wanted = mark_value(id_of(page, e.version), m);
      std::fprintf(stderr, " %s", !i || word[i] == wanted ? "right" : word[i] == 0 ? "zero" : "wrong");
    }
    std::fprintf(stderr, "\n");
    std::abort();
  }
  void check_all() {
    for (size_t i = 0; i < size(); ++i) check(i);
  }

 private:
  PageId id_of(size_t page, uint32_t version) const { return {id_, static_cast<uint32_t>(page), version}; }

  uint32_t id_;
  uint32_t next_version_ = 0;
  char* base_;
  std::vector<Expected> pages_;
};

}  // namespace fuzz
