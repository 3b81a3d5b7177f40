// The engine: mapping calls. Rules: see engine.h.
#include "job/engine.h"

#include <linux/mman.h>
#include <sys/mman.h>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "job/state.h"
#include "os/uffd_abi.h"

namespace ebb {

namespace {
constinit State g_state;
}  // namespace
State& state() { return g_state; }

void StackHold::hold() {
  constexpr uint64_t kStack = 48 << 10;  // what a hook may need
  if (g_state.mode.load(std::memory_order_relaxed) != Mode::kPaged) return;
  const Address top = Address{reinterpret_cast<uintptr_t>(__builtin_frame_address(0))}.page() + kPageSize;
  // glibc puts a thread's own data at the upper end of its stack. The kernel writes there (rseq(2)) whenever the thread
  // gets a processor: also when it wakes to take the lock, which nobody else will be woken for.
  const Address own = Address{reinterpret_cast<uintptr_t>(__builtin_thread_pointer())}.page();
  bool any = hold({top - kStack, top});
  any = hold({own - kPageSize, own + 2 * kPageSize}) || any;
  if (!any) return;
  // Home before the lock is taken; a guard page below (fenced, or not managed) is not touched.
  for (Address at = top - kPageSize; at >= top - kStack && touch(at); at = at - kPageSize) {
  }
  for (Address at = own - kPageSize; at < own + 2 * kPageSize; at = at + kPageSize) (void)touch(at);
}
bool StackHold::hold(AddressRange range) {
  bool any = false;
  for (const Address at : {range.begin, range.end - 1}) {
    Extent* const e = g_state.table.find(at);
    if (!e) continue;
    any = true;
    unsigned k = 0;
    while (extents_[k] && extents_[k] != e) ++k;  // two for each of two ranges: there is room
    if (extents_[k] == e) continue;
    __atomic_fetch_add(&e->held, 1, __ATOMIC_SEQ_CST);
    extents_[k] = e;
  }
  return any;
}
bool StackHold::touch(Address page) {
  const Extent* e = g_state.table.find(page);
  if (!e || !e->managed.test(page.page_in_extent()) || e->fenced.test(page.page_in_extent())) return false;
  __atomic_fetch_or(page.pointer<char>(), char{0}, __ATOMIC_RELAXED);
  return true;
}
void StackHold::release() {
  for (Extent*& e : extents_) {
    if (e) __atomic_fetch_sub(&e->held, 1, __ATOMIC_SEQ_CST);
    e = nullptr;
  }
}

HookScope::HookScope() {
  stack_.hold();
  g_state.hooks_waiting.fetch_add(1, std::memory_order_relaxed);
  g_state.lock.lock();
  g_state.hooks_waiting.fetch_sub(1, std::memory_order_relaxed);
}
HookScope::~HookScope() {
  g_state.lock.unlock();
  stack_.release();
}

namespace {
// Lets the pager's thread do a round, without the lock that the caller holds.
void wait_for_round(State& s) {
  const uint32_t round = s.round.load();
  s.settling.fetch_add(1);
  s.lock.unlock();
  wake_pager(s);
  futex_wait(s.round, round);
  s.lock.lock();
  s.settling.fetch_sub(1);
}
}  // namespace

void settle(State& s, AddressRange range) {
  if (s.mode.load() != Mode::kPaged || s.pager.settled(range)) return;
  s.pager.freeze(range);
  while (!s.pager.settled(range)) wait_for_round(s);
  s.pager.thaw(range);
}

void page_if_needed(State& s, uint64_t more) {
  constexpr Bytes kWorthCleaning{uint64_t{32} << 20};  // CRIU stores what is less in no time
  if (s.mode.load(std::memory_order_relaxed) != Mode::kFreeRun) return;
  const bool grown = s.share.managed() + Bytes{more} > s.share.limit();
  const Bytes own = Bytes{s.job.slot().managed.load(std::memory_order_relaxed)} + Bytes{more};
  if (grown || (s.share.cleans_ahead() && own > kWorthCleaning)) (void)start_paging(s);
}

namespace engine {
namespace {

long raw_map(void* a, size_t n, int prot, int flags, int fd, off_t offset) {
  return raw_syscall(SYS_mmap, as_arg(a), static_cast<long>(n), prot, flags, fd, offset);
}

// Page-aligned range of a call's arguments; empty when they are nonsense, which the kernel then says.
AddressRange pages_of(const void* address, size_t bytes) {
  const Address begin = address_of(address);
  const uint64_t size = align_up(bytes, kPageSize);
  if (begin.value % kPageSize || begin.value + size < begin.value || (begin.value + size) >> 47) return {};
  return range_at(begin, size);
}

bool qualifies(size_t bytes, int prot, int flags) {
  constexpr int kNeeded = MAP_PRIVATE | MAP_ANONYMOUS;
  constexpr int kRefused =
      MAP_SHARED | MAP_STACK | MAP_GROWSDOWN | MAP_NORESERVE | MAP_HUGETLB | MAP_LOCKED | MAP_32BIT;
  return bytes >= kSmallestMap && prot == (PROT_READ | PROT_WRITE) && (flags & kNeeded) == kNeeded &&
         !(flags & kRefused);
}

// Joins the job at the first managed range. False when that fails: the engine is off from then on.
bool join_job(State& s) {
  if (s.job.attached()) return true;
  const Errno e = s.job.attach(s.whole_job ? s.job_path : nullptr, s.budget);
  if (e) {
    log_line(LogLevel::kWarning, "cannot join the job ", s.whole_job ? s.job_path : "", " (", errno_name(e.value),
             "): this process runs without tiering");
    s.mode.store(Mode::kOff);
    return false;
  }
  if (s.clean_ahead) s.job.control().clean_ahead.store(1);
  s.share.attach(s.job.control(), s.job.slot());
  return true;
}

// A process that holds much of a job with others must be able to give it back when they need it.
void page_if_sharing(State& s) {
  if (s.mode.load(std::memory_order_relaxed) != Mode::kFreeRun || !s.share.shared()) return;
  if (to_bytes(s.share.own()).count * 4 > s.share.limit().count) (void)start_paging(s);
}

void adopt(State& s, AddressRange range, bool heap) {
  if (s.pin_future) return;
  if (!s.pager.add(range, heap)) log_line(LogLevel::kWarning, "no memory to manage ", Bytes{range.size()});
  page_if_sharing(s);
}

// The kernel replaced or removed what was in `range`.
void gone(State& s, AddressRange range) {
  if (s.job.attached()) s.pager.remove(range, false);
}

// Whether any extent of `range` was ever managed, without the lock: most calls are about other memory.
bool ours(State& s, AddressRange range) {
  bool any = false;
  if (range.empty()) return false;
  if (range.size() > (uint64_t{1} << 40)) return true;
  s.table.for_each(range, [&](Extent&) { any = true; });
  return any;
}

}  // namespace

bool enabled() { return g_state.mode.load(std::memory_order_relaxed) != Mode::kOff; }

long map(void* address, size_t bytes, int prot, int flags, int fd, off_t offset) {
  State& s = g_state;
  if (!enabled()) return raw_map(address, bytes, prot, flags, fd, offset);
  const bool fits = qualifies(bytes, prot, flags);
  const bool replaces = (flags & MAP_FIXED) == MAP_FIXED && ours(s, pages_of(address, bytes));
  if (!fits && !replaces) return raw_map(address, bytes, prot, flags, fd, offset);

  HookScope hook;
  if (fits && !join_job(s)) return raw_map(address, bytes, prot, flags, fd, offset);
  if (fits) page_if_needed(s, bytes);
  if (replaces) settle(s, pages_of(address, bytes));
  // Populating beyond the budget is not for the kernel to do.
  const bool paged = s.mode.load() == Mode::kPaged;
  const long r = raw_map(address, bytes, prot, fits && paged ? flags & ~MAP_POPULATE : flags, fd, offset);
  if (is_error(r)) return r;
  const AddressRange range = range_at({static_cast<uint64_t>(r)}, align_up(bytes, kPageSize));
  if (replaces) gone(s, range);
  if (fits) adopt(s, range, false);
  return r;
}

long map_heap(void* hint, size_t bytes, bool exact, bool huge) {
  State& s = g_state;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  HookScope hook;
  const bool managed = enabled() && join_job(s);
  if (managed) page_if_needed(s, bytes);
  long r = -ENOMEM;
  if (hint) {
    r = raw_map(hint, bytes, PROT_READ | PROT_WRITE, flags | (exact ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (!is_error(r) && ((exact && r != as_arg(hint)) || r % static_cast<long>(kExtentSize))) {
      raw_syscall(SYS_munmap, r, static_cast<long>(bytes));
      r = -EEXIST;
    }
    if (exact && is_error(r)) return r;
  }
  if (is_error(r)) {
    const uint64_t more = bytes + kExtentSize;
    r = raw_map(nullptr, more, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (is_error(r)) return r;
    const uint64_t at = align_up(static_cast<uint64_t>(r), kExtentSize), end = static_cast<uint64_t>(r) + more;
    if (at > static_cast<uint64_t>(r)) raw_syscall(SYS_munmap, r, static_cast<long>(at) - r);
    if (end > at + bytes) raw_syscall(SYS_munmap, static_cast<long>(at + bytes), static_cast<long>(end - at - bytes));
    r = static_cast<long>(at);
  }
  if (huge) raw_syscall(SYS_madvise, r, static_cast<long>(bytes), MADV_HUGEPAGE);
  if (managed) adopt(s, range_at({static_cast<uint64_t>(r)}, align_up(bytes, kPageSize)), true);
  return r;
}

long unmap(void* address, size_t bytes) {
  State& s = g_state;
  const AddressRange range = pages_of(address, bytes);
  if (!enabled() || !ours(s, range)) return raw_syscall(SYS_munmap, as_arg(address), static_cast<long>(bytes));
  HookScope hook;
  settle(s, range);
  const long r = raw_syscall(SYS_munmap, as_arg(address), static_cast<long>(bytes));
  if (!is_error(r)) gone(s, range);
  return r;
}

long advise(void* address, size_t bytes, int advice) {
  State& s = g_state;
  const AddressRange range = pages_of(address, bytes);
  const auto plain = [&] { return raw_syscall(SYS_madvise, as_arg(address), static_cast<long>(bytes), advice); };
  if (!enabled() || !ours(s, range)) return plain();
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTNEED_LOCKED: {
      HookScope hook;
      settle(s, range);
      // MADV_FREE may give the old contents or zeros until the next write: zeros at once is one of these.
      const int drop = advice == MADV_FREE && s.mode.load() == Mode::kPaged ? MADV_DONTNEED : advice;
      const long r = raw_syscall(SYS_madvise, as_arg(address), static_cast<long>(bytes), drop);
      // ENOMEM: over a hole; what is mapped has been dropped all the same.
      if (!is_error(r) || r == -ENOMEM) s.pager.forget(range);
      return r;
    }
    case MADV_DOFORK: {  // what we keep from children that we do not see stays so
      HookScope hook;
      const long r = plain();
      if (const Errno e = s.pager.rearm(range)) return -e.value;
      return r;
    }
    case abi::kMadvGuardInstall:
    case abi::kMadvGuardRemove:
    case MADV_DONTFORK:
    case MADV_WIPEONFORK: {  // the child's view differs from ours, or not all of it can be touched: plain memory then
      HookScope hook;
      let_go(s, range);
      return plain();
    }
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_WILLNEED:
      if (s.mode.load() == Mode::kPaged) return 0;  // hints; every touch is answered anyway
      return plain();
    case MADV_PAGEOUT:
    case MADV_COLD:
    case MADV_COLLAPSE:
      if (s.mode.load() == Mode::kPaged) return 0;
      return plain();
    default:
      return plain();
  }
}

namespace {
long protect_with(void* address, size_t bytes, int prot, int key, bool keyed) {
  State& s = g_state;
  const AddressRange range = pages_of(address, bytes);
  const auto plain = [&] {
    return keyed ? raw_syscall(SYS_pkey_mprotect, as_arg(address), static_cast<long>(bytes), prot, key)
                 : raw_syscall(SYS_mprotect, as_arg(address), static_cast<long>(bytes), prot);
  };
  if (!enabled() || !ours(s, range)) return plain();
  HookScope hook;
  const bool usual = prot == (PROT_READ | PROT_WRITE) && (!keyed || key <= 0);
  if (!usual) {
    settle(s, range);
    s.pager.fence(range, true);
    return plain();
  }
  const long r = plain();
  if (!is_error(r)) s.pager.fence(range, false);
  return r;
}
}  // namespace

long protect(void* address, size_t bytes, int prot) { return protect_with(address, bytes, prot, 0, false); }
long protect_key(void* address, size_t bytes, int prot, int key) {
  return protect_with(address, bytes, prot, key, true);
}

long lock(void* address, size_t bytes, unsigned flags) {
  State& s = g_state;
  const uint64_t begin = align_down(address_of(address).value, kPageSize);
  const AddressRange range = pages_of(Address{begin}.pointer(), bytes + (address_of(address).value - begin));
  const auto plain = [&] {
    return raw_syscall(SYS_mlock2, as_arg(address), static_cast<long>(bytes), static_cast<long>(flags));
  };
  if (!enabled() || !ours(s, range)) return plain();
  {
    HookScope hook;
    if (flags & MLOCK_ONFAULT) {
      settle(s, range);
      s.pager.pin(range, true);
    } else {
      bring_in(s, range);
    }
  }
  // Without the lock: the kernel faults pages in here, and the pager answers.
  const long r = plain();
  if (is_error(r)) {
    HookScope hook;
    s.pager.pin(range, false);
  }
  return r;
}

long unlock(void* address, size_t bytes) {
  State& s = g_state;
  const AddressRange range = pages_of(Address{align_down(address_of(address).value, kPageSize)}.pointer(),
                                      bytes + address_of(address).value % kPageSize);
  const long r = raw_syscall(SYS_munlock, as_arg(address), static_cast<long>(bytes));
  if (!is_error(r) && enabled() && ours(s, range)) {
    HookScope hook;
    s.pager.pin(range, false);
  }
  return r;
}

long lock_all(int flags) {
  State& s = g_state;
  if (enabled()) {
    HookScope hook;
    if (flags & MCL_FUTURE) s.pin_future = true;
    if ((flags & MCL_CURRENT) && s.job.attached()) bring_in(s, kAllAddresses);
  }
  const long r = raw_syscall(SYS_mlockall, flags);
  if (is_error(r) && enabled()) (void)unlock_all();
  return r;
}

long unlock_all() {
  State& s = g_state;
  const long r = raw_syscall(SYS_munlockall);
  if (enabled()) {
    HookScope hook;
    s.pin_future = false;
    if (s.job.attached()) s.pager.pin(kAllAddresses, false);
  }
  return r;
}

long resident(void* address, size_t bytes, unsigned char* vector) {
  State& s = g_state;
  const long r = raw_syscall(SYS_mincore, as_arg(address), static_cast<long>(bytes), as_arg(vector));
  const AddressRange range = pages_of(address, bytes);
  if (is_error(r) || s.mode.load() != Mode::kPaged || !ours(s, range)) return r;
  for (uint64_t i = 0; i < range.pages().count; ++i) {
    // `vector` may be cold itself, so it is written without the lock.
    bool elsewhere;
    {
      HookScope hook;
      elsewhere = s.pager.elsewhere(range.begin + i * kPageSize);
    }
    if (elsewhere) vector[i] |= 1;
  }
  return r;
}

void at_exit() {}

}  // namespace engine

// Also behind the program's own protection: the pager is asked, nothing is touched.
void bring_in(State& s, AddressRange range) {
  settle(s, range);
  s.pager.pin(range, true);
  if (s.mode.load() != Mode::kPaged) return;
  while (s.pager.any_cold(range)) {
    s.pager.want(range);
    wait_for_round(s);
    settle(s, range);
    s.pager.settle_home(range);
  }
}

void let_go(State& s, AddressRange range) {
  bring_in(s, range);
  s.pager.remove(range, true);
}

}  // namespace ebb
