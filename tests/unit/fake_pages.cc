// FakePages: see fake_pages.h. The order of checks follows mm/userfaultfd.c of Linux 6.8 as os_linux_pages_test.cc sees
// it.
#include "fake_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ebb {
namespace {

template <class Fn>
void each_page(AddressRange range, Fn fn) {
  for (Address a = range.begin; a < range.end; a = a + kPageSize) fn(a);
}

// The fakes that live now, for the signal handler, and what handled the signal before.
std::vector<FakePages*> g_alive;
struct sigaction g_before = {};

}  // namespace

void FakePages::on_segv(int, siginfo_t* info, void*) {
  const Address page = address_of(info->si_addr).page();
  for (FakePages* fake : g_alive)
    if (fake->fill(page)) return;
  sigaction(SIGSEGV, &g_before, nullptr);  // the access is made again, and ends the test as it should
}

FakePages::FakePages(Bytes space)
    : space_(space),
      pages_(space.count >> kPageShift),
      huge_((space.count >> kExtentShift) + 1),
      present_((space.count >> kExtentShift) + 1) {
  const int fd = memfd_create("fake-pages", MFD_CLOEXEC);
  char* raw = static_cast<char*>(
      mmap(nullptr, space.count + kExtentSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  base_ = Address{align_up(reinterpret_cast<uintptr_t>(raw), kExtentSize)};
  next_ = base_;
  alias_ = static_cast<char*>(MAP_FAILED);
  if (fd >= 0 && raw != MAP_FAILED && ftruncate(fd, static_cast<off_t>(space.count)) == 0) {
    munmap(raw, base_.value - reinterpret_cast<uintptr_t>(raw));
    munmap((base_ + space.count).pointer(), kExtentSize - (base_.value - reinterpret_cast<uintptr_t>(raw)));
    mmap(base_.pointer(), space.count, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0);
    alias_ = static_cast<char*>(mmap(nullptr, space.count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  }
  if (alias_ == MAP_FAILED) std::abort();  // no test can go on without memory
  ::close(fd);
  if (g_alive.empty()) {
    struct sigaction action = {};
    action.sa_sigaction = on_segv;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &g_before);
  }
  g_alive.push_back(this);
}

FakePages::~FakePages() {
  std::erase(g_alive, this);
  if (g_alive.empty()) sigaction(SIGSEGV, &g_before, nullptr);
  munmap(base_.pointer(), space_.count);
  munmap(alias_, space_.count);
}

AddressRange FakePages::map(Bytes bytes) {
  const AddressRange range = range_at(next_, bytes.count);
  // A gap behind each mapping, so that running over its end is noticed.
  next_ = Address{align_up(range.end.value, kExtentSize)} + kExtentSize;
  if (next_ > base_ + space_.count) {
    std::fputs("FakePages: no address space is left\n", stderr);
    std::abort();
  }
  each_page(range, [&](Address a) { state(a).mapping = {.mapped = true}; });
  return range;
}

void FakePages::unmap(AddressRange range) {
  each_page(range, [&](Address a) {
    drop(a);
    state(a).mapping = {};
  });
  show(range);
  wake(range);
}

void FakePages::set_access(AddressRange range, Access access) {
  each_page(range, [&](Address a) { state(a).mapping.access = access; });
}

void FakePages::set_locked(AddressRange range, bool on) {
  each_page(range, [&](Address a) { state(a).mapping.locked = on; });
}

FakePages::Touch FakePages::touch(Address a, bool write, uint32_t thread) {
  if (waits(thread)) return Touch::kWaiting;
  const Address page = a.page();
  if (!simulated(page)) return Touch::kSegv;
  Page& p = state(page);
  if (!p.mapping.mapped || p.mapping.access == Access::kNone || (write && p.mapping.access == Access::kRead))
    return Touch::kSegv;
  if (p.poisoned) return Touch::kBus;
  const bool protected_write = p.present && write && p.write_protected;
  if (protected_write || (!p.present && p.mapping.armed == Armed::kYes)) {
    unread_.push_back({page, thread, write, protected_write});
    waiting_[thread] = page;
    return Touch::kFault;
  }
  if (!p.present) make_present(page);
  if (write) p.shared = p.of_file = false;
  return Touch::kDone;
}

char* FakePages::contents(Address page) { return state(page).present ? bytes_at(page.page()) : nullptr; }

void FakePages::pin(Address page, bool on) { state(page).pinned = on; }

void FakePages::share(AddressRange range) {
  each_page(range, [&](Address a) { state(a).shared = state(a).present; });
}

void FakePages::end_sharing(AddressRange range) {
  each_page(range, [&](Address a) { state(a).shared = false; });
}

AddressRange FakePages::remap(AddressRange from) {
  const uint64_t lead = from.begin.page_in_extent() * kPageSize;
  const AddressRange all = map(Bytes{lead + from.size()});
  const AddressRange to = {all.begin + lead, all.end};
  if (lead) unmap({all.begin, to.begin});
  each_page(from, [&](Address a) {
    const Address there = to.begin + (a - from.begin);
    if (state(a).present) std::memcpy(bytes_at(there), bytes_at(a), kPageSize);
    state(there) = state(a);
    state(there).mapping.armed = Armed::kNo;
    state(there).write_protected = false;
    state(there).shown = false;
    set_present(there, state(a).present);
    poisoned_ += state(a).poisoned;
    drop(a);
    state(a).mapping = {};
  });
  show(from);
  show(to);
  return to;
}

bool FakePages::fill(Address page) {
  if (!simulated(page) || !limbo_fills || state(page).mapping.armed != Armed::kLimbo || state(page).present)
    return false;
  make_present(page);
  return true;
}

Pages FakePages::resident(AddressRange range) const {
  Pages n;
  for (Address a = range.begin; a < range.end;) {
    const Address end = std::min(a.extent() + kExtentSize, range.end);
    const PageRun run = {a.page_in_extent(), static_cast<unsigned>((end - a) >> kPageShift)};
    n += (present_[(a - base_) >> kExtentShift] & PageSet::of(run)).pages();
    a = end;
  }
  return n;
}

char* FakePages::begin_transfer(void* buffer, uint64_t bytes) {
  const Address at = address_of(buffer);
  if (!simulated(at)) return static_cast<char*>(buffer);
  each_page({at.page(), Address{align_up(at.value + bytes, kPageSize)}}, [&](Address a) {
    Page& p = state(a);
    EXPECT_TRUE(p.mapping.mapped) << "transfer into nowhere";
    EXPECT_FALSE(!p.present && p.mapping.armed == Armed::kYes) << "the transfer would wait for the pager itself";
    if (!p.present) make_present(a);
    ++p.transfers;
  });
  return bytes_at(at);
}

void FakePages::end_transfer(void* buffer, uint64_t bytes) {
  const Address at = address_of(buffer);
  if (!simulated(at)) return;
  each_page({at.page(), Address{align_up(at.value + bytes, kPageSize)}}, [&](Address a) { --state(a).transfers; });
}

bool FakePages::one_mapping(AddressRange range) const {
  if (range.empty() || !simulated(range.begin) || !simulated(range.end - 1)) return false;
  const Mapping& first = state(range.begin).mapping;
  bool same = first.mapped;
  each_page(range, [&](Address a) { same &= state(a).mapping == first; });
  return same;
}

Errno FakePages::asked(Op op, AddressRange range) const {
  for (Address a = range.begin; a < range.end; a = a + kPageSize)
    if (const Errno e = asked_page(op, a)) return e;
  return {};
}

Result<void> FakePages::set_armed(Op op, AddressRange range, Armed armed) {
  bool mapped = !range.empty() && simulated(range.begin) && simulated(range.end - 1);
  if (mapped) each_page(range, [&](Address a) { mapped &= state(a).mapping.mapped; });
  if (!mapped) return Errno{EINVAL};
  if (const Errno e = asked(op, range)) return e;
  each_page(range, [&](Address a) {
    state(a).mapping.armed = armed;
    if (armed == Armed::kNo) state(a).write_protected = false;
  });
  show(range);
  if (armed == Armed::kNo) wake(range);
  return {};
}

Result<void> FakePages::arm(AddressRange range) { return set_armed(Op::kArm, range, Armed::kYes); }
Result<void> FakePages::arm_limbo(AddressRange range) { return set_armed(Op::kArmLimbo, range, Armed::kLimbo); }
Result<void> FakePages::disarm(AddressRange range) { return set_armed(Op::kDisarm, range, Armed::kNo); }

// Where mappings change within a range the kernel refuses the call, and LinuxPages goes on in smaller ones: only the
// page itself counts.
Errno FakePages::move_page(Address to, Address from) {
  Page& target = state(to);
  Page& source = state(from);
  const Mapping &t = target.mapping, &s = source.mapping;
  if (!t.mapped || !s.mapped || t.armed == Armed::kNo || t.access != s.access || t.locked != s.locked ||
      t.access != Access::kReadWrite)
    return {EINVAL};
  if (const Errno e = asked_page(Op::kMove, from)) return e;
  if (target.present || target.poisoned) return {EEXIST};
  if (source.poisoned) return {EFAULT};
  if (!source.present) return {};
  if (source.pinned || source.shared || source.transfers) return {EBUSY};
  std::memcpy(bytes_at(to), bytes_at(from), kPageSize);
  set_present(to, true);
  target.write_protected = false;
  drop(from);
  return {};
}

Progress FakePages::move(Address to, Address from, Bytes bytes) {
  const AddressRange target = range_at(to, bytes.count), source = range_at(from, bytes.count);
  if (target.empty()) return {};
  if (!simulated(to) || !simulated(target.end - 1) || !simulated(from) || !simulated(source.end - 1) ||
      target.overlaps(source))
    return {{}, {EINVAL}};
  // A whole huge page is moved as one.
  const bool whole = to.value % kExtentSize == 0 && from.value % kExtentSize == 0 && bytes.count == kExtentSize;
  const bool huge = whole && huge_[(from - base_) >> kExtentShift];
  Progress p;
  while (p.done < bytes && !p.error) {
    p.error = move_page(to + p.done.count, from + p.done.count);
    if (!p.error) p.done += Bytes{kPageSize};
  }
  if (huge && !p.error) huge_[(to - base_) >> kExtentShift] = true;
  show(range_at(to, p.done.count));
  show(range_at(from, p.done.count));
  wake(range_at(to, p.done.count));
  return p;
}

Progress FakePages::copy(Address to, const void* from, Bytes bytes) {
  const AddressRange target = range_at(to, bytes.count);
  if (target.empty()) return {};
  if (!simulated(to) || !simulated(target.end - 1)) return {{}, {ENOENT}};
  Progress p;
  while (p.done < bytes && !p.error) {
    const Address page = to + p.done.count;
    const Address source = address_of(from) + p.done.count;
    if (!state(page).mapping.mapped || state(page).mapping.armed == Armed::kNo) p.error = {ENOENT};
    if (!p.error) p.error = asked_page(Op::kCopy, page);
    if (!p.error && state(page).present) p.error = {EEXIST};
    if (p.error) break;
    const char* data = source.pointer<const char>();
    if (simulated(source)) {
      EXPECT_TRUE(state(source).present) << "copy from a missing page";
      data = bytes_at(source);
    }
    make_present(page);
    std::memcpy(bytes_at(page), data, kPageSize);
    heal(page);
    p.done += Bytes{kPageSize};
  }
  wake(range_at(to, p.done.count));
  return p;
}

void FakePages::wake(AddressRange range) {
  std::erase_if(waiting_, [&](const auto& w) { return range.contains(w.second); });
  std::erase_if(unread_, [&](const Fault& f) { return range.contains(f.address); });
}

PageSet FakePages::exclusive(Address extent) {
  PageSet pages = present(extent, nullptr);
  for (unsigned i = 0; i < kPagesPerExtent; ++i)
    if (pages.test(i) && state(extent + i * kPageSize).shared) pages.clear(i);
  return pages;
}

Errno FakePages::map_file(AddressRange range, int fd, uint64_t offset) {
  if (const Errno e = asked(Op::kMapFile, range)) return e;
  (void)map_empty(range);
  each_page(range, [&](Address a) {
    make_present(a);
    std::memcpy(bytes_at(a), file_contents(fd, offset + (a - range.begin)), kPageSize);
    state(a).of_file = true;
  });
  return {};
}

Errno FakePages::map_empty(AddressRange range) {
  each_page(range, [&](Address a) {
    EXPECT_TRUE(state(a).mapping.mapped) << "mapped where nothing of the program was";
    drop(a);
    state(a).mapping = {.mapped = true};
  });
  show(range);
  wake(range);
  return {};
}

unsigned FakePages::owned(AddressRange range, AddressRange* out, unsigned max) {
  unsigned found = 0;
  for (Address a = range.begin; a < range.end && simulated(a); a = a + kPageSize) {
    if (!state(a).present || state(a).of_file) continue;
    if (found && out[found - 1].end == a) {
      out[found - 1].end = a + kPageSize;
      continue;
    }
    if (found == max) break;
    out[found++] = range_at(a, kPageSize);
  }
  return found;
}

Result<void> FakePages::protect(AddressRange range, bool on) {
  bool armed = !range.empty() && simulated(range.begin) && simulated(range.end - 1);
  if (armed)
    each_page(range, [&](Address a) { armed &= state(a).mapping.mapped && state(a).mapping.armed != Armed::kNo; });
  if (!armed) return Errno{ENOENT};
  if (const Errno e = asked(Op::kProtect, range)) return e;
  each_page(range, [&](Address a) { state(a).write_protected = on && state(a).present; });
  if (!on) wake(range);
  return {};
}

Result<void> FakePages::poison(AddressRange range) {
  if (!one_mapping(range) || state(range.begin).mapping.armed == Armed::kNo) return Errno{ENOENT};
  if (const Errno e = asked(Op::kPoison, range)) return e;
  for (Address a = range.begin; a < range.end; a = a + kPageSize) {
    if (state(a).present || state(a).poisoned) return Errno{EEXIST};
    state(a).poisoned = true;
    ++poisoned_;
    wake(range_at(a, kPageSize));
  }
  return {};
}

void FakePages::unshare(AddressRange range) {
  each_page(range, [&](Address a) {
    EXPECT_TRUE(state(a).present) << "the write would fault in the runtime";
    EXPECT_EQ(state(a).mapping.access, Access::kReadWrite) << "the write would fault in the runtime";
    EXPECT_FALSE(state(a).write_protected) << "the write would fault in the runtime";
    state(a).shared = false;
  });
}

void FakePages::discard(AddressRange range) {
  each_page(range, [&](Address a) {
    EXPECT_EQ(state(a).transfers, 0u) << "discard of a page with a transfer under way";
    drop(a);
  });
  show(range);
}

void FakePages::peek(void* to, Address from, Bytes bytes) {
  each_page(range_at(from, bytes.count), [&](Address a) { EXPECT_TRUE(state(a).present) << "peek at a missing page"; });
  std::memcpy(to, bytes_at(from), bytes.count);
}

bool FakePages::populate(AddressRange range) {
  if (asked(Op::kPopulate, range)) return false;
  each_page(range, [&](Address a) {
    if (a.page_in_extent() == 0 && range.contains(range_at(a, kExtentSize)) &&
        resident(range_at(a, kExtentSize)) == Pages{})
      huge_[(a - base_) >> kExtentShift] = true;
    EXPECT_NE(state(a).mapping.armed, Armed::kYes) << "populate would wait for the pager itself";
    if (!state(a).present) make_present(a);
  });
  return true;
}

PageSet FakePages::present(Address extent, bool* huge) {
  PageSet set = present_[(extent - base_) >> kExtentShift];
  // A mark of poison is an entry of the page table, too.
  if (poisoned_)
    for (unsigned i = 0; i < kPagesPerExtent; ++i)
      if (state(extent + i * kPageSize).poisoned) set.set(i);
  if (huge) *huge = huge_[(extent - base_) >> kExtentShift];
  return set;
}

unsigned FakePages::read_faults(Fault* out, unsigned max) {
  unsigned n = 0;
  for (; n < max && !unread_.empty(); ++n) {
    out[n] = unread_.front();
    unread_.pop_front();
  }
  return n;
}

void FakePages::set_present(Address page, bool on) {
  state(page).present = on;
  PageSet& set = present_[(page - base_) >> kExtentShift];
  on ? set.set(page.page_in_extent()) : set.clear(page.page_in_extent());
}

void FakePages::heal(Address page) {
  if (state(page).poisoned) --poisoned_;
  state(page).poisoned = false;
}

void FakePages::make_present(Address page) {
  std::memset(bytes_at(page), 0, kPageSize);
  set_present(page, true);
  Page& p = state(page);
  p.write_protected = p.shared = false;
  show(range_at(page, kPageSize));
}

void FakePages::drop(Address page) {
  heal(page);
  set_present(page, false);
  Page& p = state(page);
  p.write_protected = p.shared = p.pinned = p.of_file = false;
  huge_[(page - base_) >> kExtentShift] = false;
}

void FakePages::show(AddressRange range) {
  const auto open = [&](Address a) { return state(a).present && state(a).mapping.armed == Armed::kLimbo; };
  for (Address a = range.begin; a < range.end;) {
    const bool shown = open(a);
    Address end = a;
    for (; end < range.end && open(end) == shown && state(end).shown != shown; end = end + kPageSize)
      state(end).shown = shown;
    if (end == a) {
      a = a + kPageSize;
      continue;
    }
    if (mprotect(a.pointer(), end - a, shown ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) std::abort();
    a = end;
  }
}

}  // namespace ebb
