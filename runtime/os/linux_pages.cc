// Rules: called by the pager's thread (no libc state) and by hooks under the runtime's lock; raw system calls only.
#include "os/linux_pages.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <sys/uio.h>
#include <cerrno>

#include "base/check.h"
#include "base/syscall.h"
#include "os/pins.h"
#include "os/uffd_abi.h"

namespace ebb {
namespace {

constexpr uint64_t kNeeded = abi::kFeatureMove | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID;
constexpr uint64_t kWanted = kNeeded | abi::kFeaturePoison | UFFD_FEATURE_EXACT_ADDRESS;

// The kernel answers EAGAIN while someone else holds a page for a moment; one that is held for longer is busy.
constexpr int kMaxIdleRetries = 1000;

long uffd_ioctl(int fd, unsigned long request, void* arg) {
  return raw_syscall(SYS_ioctl, fd, static_cast<long>(request), as_arg(arg));
}

uffdio_range uffd_range(AddressRange r) { return {r.begin.value, r.size()}; }

// A raw userfaultfd for kernel-mode and user-mode faults, API not yet negotiated.
long raw_userfaultfd() {
  const long device = raw_syscall(SYS_openat, AT_FDCWD, as_arg("/dev/userfaultfd"), O_RDWR | O_CLOEXEC);
  if (!is_error(device)) {
    const long fd = raw_syscall(SYS_ioctl, device, abi::kUserfaultfdNew, O_CLOEXEC | O_NONBLOCK);
    raw_syscall(SYS_close, device);
    if (!is_error(fd)) return fd;
  }
  return raw_syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

Result<void> negotiate(int fd, uint64_t features, uint64_t* offered) {
  uffdio_api api = {};
  api.api = UFFD_API;
  api.features = features;
  const long r = uffd_ioctl(fd, UFFDIO_API, &api);
  if (offered) *offered = api.features;
  if (is_error(r)) return Errno{static_cast<int>(-r)};
  return {};
}

}  // namespace

Result<int> open_userfaultfd(uint64_t* features) {
  // What is offered must be asked on a descriptor of its own: asking is the handshake.
  const long probe = raw_userfaultfd();
  if (is_error(probe)) return Errno{static_cast<int>(-probe)};
  uint64_t offered = 0;
  const auto asked = negotiate(static_cast<int>(probe), 0, &offered);
  raw_syscall(SYS_close, probe);
  if (!asked.ok()) return asked.error();
  if (features) *features = offered;
  if ((offered & kNeeded) != kNeeded) return Errno{EINVAL};

  const long fd = raw_userfaultfd();
  if (is_error(fd)) return Errno{static_cast<int>(-fd)};
  const auto agreed = negotiate(static_cast<int>(fd), offered & kWanted, nullptr);
  if (agreed.ok()) return static_cast<int>(fd);
  raw_syscall(SYS_close, fd);
  return agreed.error();
}

Result<void> LinuxPages::open() {
  const auto fd = open_userfaultfd(nullptr);
  if (!fd.ok()) return fd.error();
  const auto safe = protect_fd(fd.value());
  if (!safe.ok()) return safe.error();
  uffd_.reset(safe.value());

  const long map = raw_syscall(SYS_openat, AT_FDCWD, as_arg("/proc/self/pagemap"), O_RDONLY | O_CLOEXEC);
  if (is_error(map)) return Errno{static_cast<int>(-map)};
  const auto safe_map = protect_fd(static_cast<int>(map));
  if (!safe_map.ok()) return safe_map.error();
  pagemap_.reset(safe_map.value());
  return {};
}

void LinuxPages::close() {
  uffd_.reset();
  pagemap_.reset();
}

Result<void> LinuxPages::register_range(AddressRange range, uint64_t mode) {
  uffdio_register reg = {};
  reg.range = uffd_range(range);
  reg.mode = mode;
  const long r = uffd_ioctl(uffd_.get(), UFFDIO_REGISTER, &reg);
  if (is_error(r)) return Errno{static_cast<int>(-r)};
  return {};
}

Result<void> LinuxPages::arm(AddressRange range) {
  const auto armed = register_range(range, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
  if (!armed.ok()) return armed;
  inherit(range, false);
  raw_syscall(SYS_madvise, as_arg(range.begin.pointer()), static_cast<long>(range.size()), MADV_HUGEPAGE);
  return {};
}

void LinuxPages::inherit(AddressRange range, bool on) {
  raw_syscall(SYS_madvise, as_arg(range.begin.pointer()), static_cast<long>(range.size()),
              on ? MADV_DOFORK : MADV_DONTFORK);
}

// Write-protect mode without any protected page: registered, which move() demands of its target, and never faulting.
Result<void> LinuxPages::arm_limbo(AddressRange range) { return register_range(range, UFFDIO_REGISTER_MODE_WP); }

Result<void> LinuxPages::disarm(AddressRange range) {
  uffdio_range r = uffd_range(range);
  inherit(range, true);
  const long result = uffd_ioctl(uffd_.get(), UFFDIO_UNREGISTER, &r);
  if (is_error(result)) return Errno{static_cast<int>(-result)};
  return {};
}

namespace {

// The kernel takes a piece only if it lies within one mapping, and a program's advice and protection cut mappings
// anywhere: a refused piece is halved. `request(offset, bytes, &moved)` makes the call.
template <class Request>
Progress in_pieces(uint64_t total, Request request) {
  uint64_t done = 0, piece = total;
  int idle = 0;
  while (done < total) {
    if (piece > total - done) piece = total - done;
    int64_t moved = 0;
    const long r = request(done, piece, &moved);
    if (!is_error(r)) {
      done += piece;
      piece *= 2;
      idle = 0;
      continue;
    }
    idle = moved > 0 ? 0 : idle + 1;
    if (moved > 0) done += static_cast<uint64_t>(moved);
    if (r == -EAGAIN && idle < kMaxIdleRetries) continue;
    if ((r == -ENOENT || r == -EINVAL) && piece > kPageSize) {
      piece = align_down(piece / 2, kPageSize);
      continue;
    }
    return {Bytes{done}, Errno{static_cast<int>(-r)}};
  }
  return {Bytes{total}, {}};
}

}  // namespace

// Linux 6.18 moves pages in batches, and where one cannot be moved it may say of the page before it, too, that it was
// not, although it was. So the first page that did not move is looked for.
Progress LinuxPages::move(Address to, Address from, Bytes bytes) {
  uint64_t begin = 0;
  for (;;) {
    const Progress p = in_pieces(bytes.count - begin, [&](uint64_t offset, uint64_t piece, int64_t* moved) {
      abi::UffdMove m = {};
      m.dst = to.value + begin + offset;
      m.src = from.value + begin + offset;
      m.len = piece;
      m.mode = abi::kMoveAllowSrcHoles;
      const long r = uffd_ioctl(uffd_.get(), abi::kUffdioMove, &m);
      *moved = m.move;
      return r;
    });
    begin += p.done.count;
    if (!p.error || !is_there(to + begin) || is_there(from + begin)) return {Bytes{begin}, p.error};
    begin += kPageSize;
    if (begin == bytes.count) return {bytes, {}};
  }
}

// Source: Documentation/admin-guide/mm/pagemap.rst, bits 62 and 63.
bool LinuxPages::is_there(Address page) const {
  uint64_t entry = 0;
  const long r = raw_syscall(SYS_pread64, pagemap_.get(), as_arg(&entry), sizeof entry,
                             static_cast<long>((page.value >> kPageShift) * sizeof entry));
  return r == static_cast<long>(sizeof entry) && (entry >> 62) != 0;
}

Progress LinuxPages::copy(Address to, const void* from, Bytes bytes) {
  return in_pieces(bytes.count, [&](uint64_t offset, uint64_t piece, int64_t* moved) {
    uffdio_copy c = {};
    c.dst = to.value + offset;
    c.src = reinterpret_cast<uintptr_t>(from) + offset;
    c.len = piece;
    const long r = uffd_ioctl(uffd_.get(), UFFDIO_COPY, &c);
    *moved = c.copy;
    return r;
  });
}

void LinuxPages::wake(AddressRange range) {
  uffdio_range r = uffd_range(range);
  uffd_ioctl(uffd_.get(), UFFDIO_WAKE, &r);
}

Result<void> LinuxPages::protect(AddressRange range, bool on) {
  uffdio_writeprotect wp = {};
  wp.range = uffd_range(range);
  wp.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  long r;
  do r = uffd_ioctl(uffd_.get(), UFFDIO_WRITEPROTECT, &wp);
  while (r == -EAGAIN);
  if (is_error(r)) return Errno{static_cast<int>(-r)};
  return {};
}

Result<void> LinuxPages::poison(AddressRange range) {
  abi::UffdPoison p = {};
  p.range = uffd_range(range);
  const long r = uffd_ioctl(uffd_.get(), abi::kUffdioPoison, &p);
  if (is_error(r)) return Errno{static_cast<int>(-r)};
  return {};
}

bool LinuxPages::may_be_held() { return pages_may_be_held(); }

void LinuxPages::peek(void* to, Address from, Bytes bytes) {
  const iovec local = {to, bytes.count}, remote = {from.pointer(), bytes.count};
  const long r = raw_syscall(SYS_process_vm_readv, raw_syscall(SYS_getpid), as_arg(&local), 1, as_arg(&remote), 1, 0);
  // Some sandboxes forbid it.
  if (r != static_cast<long>(bytes.count)) __builtin_memcpy(to, from.pointer(), bytes.count);
}

void LinuxPages::unshare(AddressRange range) {
  for (Address at = range.begin; at < range.end; at = at + kPageSize)
    __atomic_fetch_or(at.pointer<char>(), char{0}, __ATOMIC_RELAXED);
}

void LinuxPages::discard(AddressRange range) {
  raw_syscall(SYS_madvise, as_arg(range.begin.pointer()), static_cast<long>(range.size()), MADV_DONTNEED);
}

bool LinuxPages::populate(AddressRange range) {
  const long r =
      raw_syscall(SYS_madvise, as_arg(range.begin.pointer()), static_cast<long>(range.size()), abi::kMadvPopulateWrite);
  return !is_error(r);
}

namespace {

// Runs of pages in [*at, end) that are present or swapped out and, with `not_of_file`, not a file's; `*at` becomes
// where the next ones may be.
unsigned scan_pages(int pagemap, uint64_t* at, uint64_t end, bool not_of_file, abi::PageRegion* regions, unsigned max) {
  abi::PagemapScan scan = {};
  scan.size = sizeof scan;
  scan.start = *at;
  scan.end = end;
  scan.vec = reinterpret_cast<uintptr_t>(regions);
  scan.vec_len = max;
  scan.category_inverted = scan.category_mask = not_of_file ? abi::kPageIsFile : 0;
  scan.category_anyof_mask = abi::kPageIsPresent | abi::kPageIsSwapped;
  scan.return_mask = abi::kPageIsPresent | abi::kPageIsHuge;
  const long n = uffd_ioctl(pagemap, abi::kPagemapScan, &scan);
  EBB_CHECK(!is_error(n));
  *at = scan.walk_end > *at ? scan.walk_end : end;
  return static_cast<unsigned>(n);
}

constexpr unsigned kRegions = 64;

}  // namespace

PageSet LinuxPages::present(Address extent, bool* huge) {
  PageSet pages;
  if (huge) *huge = false;
  abi::PageRegion regions[kRegions];
  const uint64_t end = extent.value + kExtentSize;
  for (uint64_t at = extent.value; at < end;) {
    const unsigned n = scan_pages(pagemap_.get(), &at, end, false, regions, kRegions);
    for (unsigned i = 0; i < n; ++i) {
      const unsigned first = static_cast<unsigned>((regions[i].start - extent.value) >> kPageShift);
      const unsigned last = static_cast<unsigned>((regions[i].end - extent.value) >> kPageShift);
      pages.set(PageRun{first, last - first});
      if (huge && last - first == kPagesPerExtent) *huge = (regions[i].categories & abi::kPageIsHuge) != 0;
    }
  }
  return pages;
}

unsigned LinuxPages::owned(AddressRange range, AddressRange* out, unsigned max) {
  unsigned found = 0;
  abi::PageRegion regions[kRegions];
  for (uint64_t at = range.begin.value; at < range.end.value && found < max;) {
    const unsigned left = max - found < kRegions ? max - found : kRegions;
    const unsigned n = scan_pages(pagemap_.get(), &at, range.end.value, true, regions, left);
    for (unsigned i = 0; i < n; ++i) out[found++] = {{regions[i].start}, {regions[i].end}};
  }
  return found;
}

Errno LinuxPages::map_file(AddressRange range, int fd, uint64_t offset) {
  put_aside(range);
  for (;;) {
    const long r =
        raw_syscall(SYS_mmap, as_arg(range.begin.pointer()), static_cast<long>(range.size()), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, static_cast<long>(offset));
    if (!is_error(r)) return {};
    // What is aside takes mappings, too, of which there are so many only.
    if (r != -ENOMEM || replaced_.empty()) return Errno{static_cast<int>(-r)};
    free_replaced();
  }
}

// Each range keeps its position within an extent: the kernel moves whole page tables then. Twice the space, since each
// that is not a multiple of one leaves a gap.
void LinuxPages::keep_replaced(Bytes bytes) {
  free_replaced();
  const uint64_t space = 2 * bytes.count + 2 * kExtentSize;
  const long r =
      raw_syscall(SYS_mmap, 0, static_cast<long>(space), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_error(r)) return;
  replaced_ = range_at({static_cast<uint64_t>(r)}, space);
  replaced_end_ = replaced_.begin;
}

// Until the next mapping there is a hole, into which the kernel could put somebody else's: nothing else may map
// meanwhile. The kernel takes a piece only if it lies within one mapping; what it refuses is left to be replaced.
void LinuxPages::put_aside(AddressRange range) {
  constexpr uint64_t kLeast = kExtentSize;  // or its page tables would take longer than its pages
  if (replaced_.empty()) return;
  for (Address at = range.begin; range.end - at >= kLeast;) {
    const Address to = {align_up(replaced_end_.value, kExtentSize) + at.value % kExtentSize};
    uint64_t piece = range.end - at;
    if (to >= replaced_.end || replaced_.end - to < piece) return;
    long r;
    while (is_error(r = raw_syscall(SYS_mremap, as_arg(at.pointer()), static_cast<long>(piece),
                                    static_cast<long>(piece), MREMAP_MAYMOVE | MREMAP_FIXED, as_arg(to.pointer()))) &&
           r == -EFAULT && piece >= 2 * kLeast)
      piece = align_up(piece / 2, kPageSize);
    if (!is_error(r)) replaced_end_ = to + piece;
    if (is_error(r) && r != -EFAULT) return;
    at = at + piece;
  }
}

// In parts: somebody else's mapping calls wait for each.
void LinuxPages::free_replaced() {
  constexpr uint64_t kPart = 32 * kExtentSize;
  while (!replaced_.empty()) {
    const uint64_t left = replaced_.size();
    const uint64_t part = replaced_.begin < replaced_end_ && left > kPart ? kPart : left;
    raw_syscall(SYS_munmap, as_arg(replaced_.begin.pointer()), static_cast<long>(part));
    replaced_.begin = replaced_.begin + part;
  }
}

Errno LinuxPages::map_empty(AddressRange range) {
  const long r = raw_syscall(SYS_mmap, as_arg(range.begin.pointer()), static_cast<long>(range.size()),
                             PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return is_error(r) ? Errno{static_cast<int>(-r)} : Errno{};
}

// Source: Documentation/admin-guide/mm/pagemap.rst, bits 56 and 63.
PageSet LinuxPages::exclusive(Address extent) {
  constexpr uint64_t kAlone = uint64_t{1} << 56, kPresent = uint64_t{1} << 63;
  PageSet pages;
  uint64_t entries[64];
  for (unsigned first = 0; first < kPagesPerExtent; first += 64) {
    const uint64_t page = (extent.value >> kPageShift) + first;
    const long r = raw_syscall(SYS_pread64, pagemap_.get(), as_arg(entries), sizeof entries,
                               static_cast<long>(page * sizeof entries[0]));
    if (r != static_cast<long>(sizeof entries)) return {};
    for (unsigned i = 0; i < 64; ++i)
      if ((entries[i] & (kAlone | kPresent)) == (kAlone | kPresent)) pages.set(first + i);
  }
  return pages;
}

unsigned LinuxPages::read_faults(Fault* out, unsigned max) {
  uffd_msg messages[16];
  const unsigned wanted = max < 16 ? max : 16;
  const long bytes = raw_syscall(SYS_read, uffd_.get(), as_arg(messages), static_cast<long>(wanted * sizeof(uffd_msg)));
  if (bytes <= 0) return 0;
  unsigned n = 0;
  for (unsigned i = 0; i < static_cast<unsigned long>(bytes) / sizeof(uffd_msg); ++i) {
    if (messages[i].event != UFFD_EVENT_PAGEFAULT) continue;
    const auto& fault = messages[i].arg.pagefault;
    out[n++] = {Address{fault.address}.page(), fault.feat.ptid, (fault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
                (fault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0, static_cast<uint16_t>(fault.address % kPageSize)};
  }
  return n;
}

}  // namespace ebb
