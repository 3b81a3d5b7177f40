// See operations.h.
#include "operations.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fuzz {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr size_t kSmallest = 256, kLargest = 32 * 256;  // pages: 1 to 32 MiB

struct Map {
  static void Perform(World& w) {
    const size_t pages = kSmallest + w.below(w.below(4) ? 8 * 256 : kLargest - kSmallest);
    if (w.pages + pages > w.most_pages) return;
    void* p = mmap(nullptr, pages * kPage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail("mmap", pages, static_cast<uint64_t>(errno));
    w.regions.push_back(std::make_unique<Region>(++w.next_id, static_cast<char*>(p), pages));
    w.pages += pages;
  }
};

struct UnmapAll {
  static void Perform(World& w) {
    if (w.regions.empty()) return;
    const size_t i = w.below(w.regions.size());
    Region& r = *w.regions[i];
    r.check_all();
    if (munmap(r.base(), r.size() * kPage) != 0) fail("munmap", r.id(), static_cast<uint64_t>(errno));
    w.pages -= r.size();
    w.regions[i] = std::move(w.regions.back());
    w.regions.pop_back();
  }
};

// The hole is filled again at once, or another thread's map could land there unknown to the model.
struct UnmapPart {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const auto run = w.run_in(*r);
    void* p = mmap(r->at(run.first), run.count * kPage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p != r->at(run.first)) fail("mmap over", r->id(), run.first, run.count);
    for (size_t i = run.first; i < run.first + run.count; ++i) (*r)[i] = {};
  }
};

struct Cut {  // munmap of the end
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r || r->size() < 2 * kSmallest) return;
    const size_t cut = 1 + w.below(r->size() / 2);
    if (munmap(r->at(r->size() - cut), cut * kPage) != 0) fail("munmap of an end", r->id(), cut);
    r->resize(r->size() - cut);
    w.pages -= cut;
  }
};

struct Remap {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r || !r->whole()) return;
    const size_t old = r->size();
    size_t pages = w.below(3) ? old + w.below(600) : 1 + old / 2 + w.below(old / 2);
    if (pages > old && w.pages + pages - old > w.most_pages) pages = old;
    void* p = mremap(r->base(), old * kPage, pages * kPage, MREMAP_MAYMOVE);
    // A range that is several mappings to the kernel (after advice or MAP_FIXED) may not grow: nothing has happened.
    if (p == MAP_FAILED && errno == EFAULT && pages > old) return;
    if (p == MAP_FAILED) fail("mremap", old, pages, static_cast<uint64_t>(errno));
    r->moved_to(static_cast<char*>(p));
    r->resize(pages);
    w.pages += pages;
    w.pages -= old;
  }
};

struct RemapTo {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r || !r->whole()) return;
    // A place found by the kernel, with the same or another position within its 2 MiB.
    const size_t bytes = r->size() * kPage, more = bytes + (2 << 20);
    char* place =
        static_cast<char*>(mmap(nullptr, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (place == MAP_FAILED) fail("mmap of a place", bytes, static_cast<uint64_t>(errno));
    const size_t lead = w.below(512) * kPage;
    char* to = place + lead;
    if (mremap(r->base(), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
      if (errno != EFAULT) fail("mremap to a place", r->id(), lead, static_cast<uint64_t>(errno));
      // Several mappings, and a kernel that moves one at a time.
      munmap(place, lead);
      munmap(to + bytes, more - lead - bytes);
      return;
    }
    if (lead) munmap(place, lead);
    if (lead + bytes < more) munmap(to + bytes, more - lead - bytes);
    r->moved_to(to);
  }
};

struct Protect {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const auto run = w.run_in(*r);
    constexpr Access kAccess[] = {Access::kAll, Access::kAll, Access::kReadOnly, Access::kNone};
    const Access access = kAccess[w.below(4)];
    const int prot = access == Access::kAll ? kReadWrite : access == Access::kReadOnly ? PROT_READ : PROT_NONE;
    if (mprotect(r->at(run.first), run.count * kPage, prot) != 0) fail("mprotect", r->id(), run.first, run.count);
    for (size_t i = run.first; i < run.first + run.count; ++i) (*r)[i].access = access;
  }
};

struct Unprotect {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    if (mprotect(r->base(), r->size() * kPage, kReadWrite) != 0) fail("mprotect of all", r->id());
    for (size_t i = 0; i < r->size(); ++i) (*r)[i].access = Access::kAll;
  }
};

struct Discard {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const auto run = w.run_in(*r);
    if (madvise(r->at(run.first), run.count * kPage, MADV_DONTNEED) != 0)
      fail("MADV_DONTNEED", r->id(), run.first, run.count);
    for (size_t i = run.first; i < run.first + run.count; ++i) (*r)[i].version = 0, (*r)[i].maybe_zero = false;
  }
};

struct Free {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const auto run = w.run_in(*r);
    if (madvise(r->at(run.first), run.count * kPage, MADV_FREE) != 0) fail("MADV_FREE", r->id(), run.first, run.count);
    for (size_t i = run.first; i < run.first + run.count; ++i) (*r)[i].maybe_zero = true;
  }
};

struct Hint {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    constexpr int kHints[] = {MADV_WILLNEED,   MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_RANDOM,
                              MADV_SEQUENTIAL, MADV_NORMAL,   MADV_COLD};
    const auto run = w.run_in(*r);
    (void)madvise(r->at(run.first), run.count * kPage, kHints[w.below(7)]);
  }
};

struct WritePages {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const auto run = w.run_in(*r);
    const size_t step = 1 + w.below(3);
    for (size_t i = run.first; i < run.first + run.count; i += step) r->write(i);
  }
};

struct WriteScattered {
  static void Perform(World& w) {
    for (int i = 0; i < 32; ++i)
      if (Region* r = w.any()) r->write(w.below(r->size()));
  }
};

struct CheckScattered {
  static void Perform(World& w) {
    for (int i = 0; i < 64; ++i)
      if (Region* r = w.any()) r->check(w.below(r->size()));
  }
};

struct Scan {
  static void Perform(World& w) {
    if (Region* r = w.any()) r->check_all();
  }
};

struct ScanAll {
  static void Perform(World& w) { check_all(w); }
};

// read(2) and write(2) of whole pages: out of a region into the file, back into the same pages.
struct ThroughFile {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    auto run = w.run_in(*r);
    if (run.count > 256) run.count = 256;
    for (size_t i = run.first; i < run.first + run.count; ++i)
      if (!(*r)[i].mapped || (*r)[i].access != Access::kAll || (*r)[i].maybe_zero) return;
    const auto bytes = static_cast<ssize_t>(run.count * kPage);
    if (pwrite(w.file, r->at(run.first), run.count * kPage, 0) != bytes)
      fail("pwrite", r->id(), run.first, static_cast<uint64_t>(errno));
    if (w.below(2) && madvise(r->at(run.first), run.count * kPage, MADV_DONTNEED) != 0)
      fail("MADV_DONTNEED before pread", r->id());
    if (pread(w.file, r->at(run.first), run.count * kPage, 0) != bytes)
      fail("pread", r->id(), run.first, static_cast<uint64_t>(errno));
    for (size_t i = run.first; i < run.first + run.count; ++i) r->check(i);
  }
};

struct Lock {
  static void Perform(World& w) {
    Region* r = w.any();
    if (!r) return;
    const size_t first = w.below(r->size()), count = r->size() - first < 8 ? r->size() - first : 8;
    for (size_t i = first; i < first + count; ++i)
      if ((*r)[i].access != Access::kAll) return;
    if (mlock(r->at(first), count * kPage) != 0) return;  // the limit
    for (size_t i = first; i < first + count; ++i) r->write(i);
    if (munlock(r->at(first), count * kPage) != 0) fail("munlock", r->id(), first, count);
  }
};

size_t block_size(World& w) {
  switch (w.below(8)) {
    case 0:
      return 1 + w.below(8 << 20);
    case 1:
    case 2:
      return 1 + w.below(256 << 10);
    default:
      return 1 + w.below(4096);
  }
}
// Every 512th byte and the last.
void mark(HeapBlock& b) {
  for (size_t at = 0; at < b.bytes; at += 512) b.p[at] = b.mark;
  b.p[b.bytes - 1] = b.mark;
}
void check(const HeapBlock& b, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 512)
    if (b.p[at] != b.mark) fail("MISMATCH in a heap block", at, b.p[at], b.mark);
}

struct HeapAllocate {
  static void Perform(World& w) {
    if (w.blocks.size() > 400) return;
    HeapBlock b = {nullptr, block_size(w), static_cast<unsigned char>(1 + w.below(255))};
    const bool zeroed = w.below(3) == 0;
    b.p = static_cast<unsigned char*>(zeroed ? std::calloc(1, b.bytes) : std::malloc(b.bytes));
    if (!b.p) fail("malloc", b.bytes);
    for (size_t at = 0; zeroed && at < b.bytes; at += 256)
      if (b.p[at]) fail("MISMATCH: calloc gave old bytes", at, b.p[at], b.bytes);
    mark(b);
    w.blocks.push_back(b);
  }
};

struct HeapResize {
  static void Perform(World& w) {
    if (w.blocks.empty()) return;
    HeapBlock& b = w.blocks[w.below(w.blocks.size())];
    const size_t bytes = block_size(w);
    b.p = static_cast<unsigned char*>(std::realloc(b.p, bytes));
    if (!b.p) fail("realloc", bytes);
    check(b, bytes < b.bytes ? bytes : b.bytes);
    b.bytes = bytes;
    mark(b);
  }
};

struct HeapFree {
  static void Perform(World& w) {
    if (w.blocks.empty()) return;
    const size_t i = w.below(w.blocks.size());
    check(w.blocks[i], w.blocks[i].bytes);
    std::free(w.blocks[i].p);
    w.blocks[i] = w.blocks.back();
    w.blocks.pop_back();
  }
};

// The child sees this thread's regions as they are now, works on them for a while and checks everything at its end.
struct Fork {
  static void Perform(World& w) {
    if (!w.may_fork) return;
    const pid_t pid = fork();
    if (pid < 0) fail("fork", static_cast<uint64_t>(errno));
    if (pid == 0) {
      w.may_fork = false;
      w.random.seed(w.random() ^ 1);
      // Two processes would use the same file and offsets.
      w.file = memfd_create("fuzz-child", 0);
      check_all(w);
      for (int i = 0; i < 60; ++i) {
        size_t n = 0;
        while (kOperations[n].weight) ++n;
        kOperations[w.below(n)].perform(w);
      }
      check_all(w);
      _exit(0);
    }
    // Both at once.
    for (int i = 0; i < 20; ++i) WriteScattered::Perform(w);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0)
      fail("a child ended with status", static_cast<uint64_t>(status));
  }
};

}  // namespace

const Operation kOperations[] = {
    {"map", 30, Map::Perform},
    {"unmap", 6, UnmapAll::Perform},
    {"unmap part", 20, UnmapPart::Perform},
    {"cut", 6, Cut::Perform},
    {"remap", 10, Remap::Perform},
    {"remap to", 10, RemapTo::Perform},
    {"protect", 15, Protect::Perform},
    {"unprotect", 25, Unprotect::Perform},
    {"discard", 20, Discard::Perform},
    {"free", 10, Free::Perform},
    {"hint", 10, Hint::Perform},
    {"write", 250, WritePages::Perform},
    {"write scattered", 150, WriteScattered::Perform},
    {"check scattered", 200, CheckScattered::Perform},
    {"scan", 100, Scan::Perform},
    {"scan all", 5, ScanAll::Perform},
    {"through file", 40, ThroughFile::Perform},
    {"lock", 10, Lock::Perform},
    {"allocate", 40, HeapAllocate::Perform},
    {"resize", 15, HeapResize::Perform},
    {"free block", 30, HeapFree::Perform},
    {"fork", 2, Fork::Perform},
    {nullptr, 0, nullptr},
};

void fill(World& w) {
  for (int i = 0; i < 200 && w.pages * 10 < w.most_pages * 9; ++i) Map::Perform(w);
  for (auto& r : w.regions)
    for (size_t i = 0; i < r->size(); ++i) r->write(i);
}

void check_all(World& w) {
  for (auto& r : w.regions) r->check_all();
  for (const auto& b : w.blocks) check(b, b.bytes);
}

void release(World& w) {
  for (auto& r : w.regions) munmap(r->base(), r->size() * kPage);
  for (auto& b : w.blocks) std::free(b.p);
  w.regions.clear();
  w.blocks.clear();
}

}  // namespace fuzz
