// The engine: mremap(2). Rules: see engine.h.
//
// A managed range is many mappings to the kernel (armed and unarmed extents differ), and a moved mapping loses its
// registration with userfaultfd. So a move is made piece by piece to a place that has the same position within its
// extents, with nothing out of sight meanwhile, and armed again there before anybody knows the address.
#include <sys/mman.h>
#include <cerrno>

#include "base/check.h"
#include "job/state.h"

namespace ebb::engine {
namespace {

long plain(void* old, size_t old_bytes, size_t bytes, int flags, void* wanted) {
  return raw_syscall(SYS_mremap, as_arg(old), static_cast<long>(old_bytes), static_cast<long>(bytes), flags,
                     as_arg(wanted));
}

bool wholly_managed(State& s, AddressRange range) {
  uint64_t pages = 0;
  s.table.for_each(range, [&](Extent& e) {
    const AddressRange r = range_at(e.base, kExtentSize).intersect(range);
    const unsigned first = static_cast<unsigned>((r.begin - e.base) >> kPageShift);
    pages += (e.managed & PageSet::of({first, static_cast<unsigned>(r.size() >> kPageShift)})).count();
  });
  return pages == range.pages().count;
}

// Whether the program's protection cuts `range` into several mappings: the kernel grows none of these.
bool cut_by_protection(State& s, AddressRange range) {
  uint64_t fenced = 0;
  s.table.for_each(range, [&](Extent& e) {
    const AddressRange r = range_at(e.base, kExtentSize).intersect(range);
    const unsigned first = static_cast<unsigned>((r.begin - e.base) >> kPageShift);
    fenced += (e.fenced & PageSet::of({first, static_cast<unsigned>(r.size() >> kPageShift)})).count();
  });
  return fenced && fenced != range.pages().count;
}

// A free place of `bytes` with the same position within an extent as `like`, nothing else in its extents.
long reserve_like(Address like, uint64_t bytes) {
  const uint64_t lead = like.value % kExtentSize;
  const uint64_t span = align_up(lead + bytes, kExtentSize) + kExtentSize;
  const long r =
      raw_syscall(SYS_mmap, 0, static_cast<long>(span), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (is_error(r)) return r;
  const uint64_t begin = static_cast<uint64_t>(r), at = align_up(begin, kExtentSize) + lead;
  raw_syscall(SYS_munmap, r, static_cast<long>(at - begin));
  raw_syscall(SYS_munmap, static_cast<long>(at + align_up(bytes, kPageSize)),
              static_cast<long>(begin + span - at - align_up(bytes, kPageSize)));
  return static_cast<long>(at);
}

// Moves `piece` by `delta`; halves it where it turns out to be several mappings (advice splits them, too): the kernel
// refuses such a piece whole. How many bytes from its beginning were moved.
uint64_t move_piece(AddressRange piece, uint64_t delta, Errno& failed) {
  const long r = plain(piece.begin.pointer(), piece.size(), piece.size(), MREMAP_MAYMOVE | MREMAP_FIXED,
                       (piece.begin + delta).pointer());
  if (!is_error(r)) return piece.size();
  if (r != -EFAULT || piece.size() == kPageSize) {
    failed = {static_cast<int>(-r)};
    return 0;
  }
  const Address middle = piece.begin + align_down(piece.size() / 2, kPageSize);
  const uint64_t first = move_piece({piece.begin, middle}, delta, failed);
  return failed ? first : first + move_piece({middle, piece.end}, delta, failed);
}

// Moves the mappings of `from` to `to`, extent by extent. On failure everything is where it was.
Errno move_pieces(AddressRange from, Address to) {
  const uint64_t delta = to.value - from.begin.value;
  Errno failed{};
  Address at = from.begin;
  while (at < from.end && !failed) {
    const Address next = at.extent() + kExtentSize < from.end ? at.extent() + kExtentSize : from.end;
    at = at + move_piece({at, next}, delta, failed);
  }
  if (!failed) return {};
  for (Address back = from.begin; back < at;) {
    const Address next = back.extent() + kExtentSize < at ? back.extent() + kExtentSize : at;
    Errno again{};
    (void)move_piece({back + delta, next + delta}, 0 - delta, again);
    EBB_CHECK(!again);
    back = next;
  }
  return failed;
}

// The edges of `range` whose extents it shares with other managed pages must have nothing in the store: a slot area
// belongs to one extent. Brings such pages in.
void unshare_edges(State& s, AddressRange range) {
  for (const Address edge : {range.begin, range.end - 1}) {
    Extent* e = s.table.find(edge);
    if (!e || range.contains(range_at(e->base, kExtentSize))) continue;
    const AddressRange part = range_at(e->base, kExtentSize).intersect(range);
    bring_in(s, part);
    s.pager.settle_home(part);
    s.pager.forget_copies(part);
  }
}

long move_managed(State& s, AddressRange old, uint64_t bytes, int flags, void* wanted) {
  settle(s, old);
  s.pager.settle_home(old);
  const bool fixed = (flags & MREMAP_FIXED) != 0;
  Address to = address_of(wanted);
  if (!fixed) {
    const long place = reserve_like(old.begin, bytes);
    if (is_error(place)) return place;
    to = {static_cast<uint64_t>(place)};
  }
  const uint64_t kept = bytes < old.size() ? bytes : old.size();
  const AddressRange moving = range_at(old.begin, kept);
  if (const Errno e = move_pieces(moving, to)) {
    EBB_CHECK(!s.pager.rearm(moving));  // what was moved and moved back lost its registration
    if (!fixed) raw_syscall(SYS_munmap, static_cast<long>(to.value), static_cast<long>(bytes));
    return -e.value;
  }
  EBB_CHECK(s.pager.rekey(moving, to));
  if (bytes > kept) {
    const AddressRange tail = {to + kept, to + align_up(bytes, kPageSize)};
    const long r = raw_syscall(SYS_mmap, static_cast<long>(tail.begin.value), static_cast<long>(tail.size()),
                               PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (is_error(r)) return r;
    (void)s.pager.add(tail, false);
  } else if (kept < old.size()) {
    const AddressRange rest = {old.begin + kept, old.end};
    raw_syscall(SYS_munmap, static_cast<long>(rest.begin.value), static_cast<long>(rest.size()));
    s.pager.remove(rest, false);
  }
  return static_cast<long>(to.value);
}

// Growing where it is: the last mapping only, since the range may be many. -ENOMEM or -EFAULT when that cannot be.
long grow_in_place(State& s, AddressRange old, uint64_t bytes) {
  const Address last = (old.end - 1).extent() > old.begin ? (old.end - 1).extent() : old.begin;
  const uint64_t more = bytes - old.size();
  const long r = plain(last.pointer(), old.end - last, old.end - last + more, 0, nullptr);
  if (is_error(r)) return r;
  (void)s.pager.add(range_at(old.end, more), false);
  return static_cast<long>(old.begin.value);
}

}  // namespace

long remap(void* address, size_t old_bytes, size_t bytes, int flags, void* wanted) {
  State& s = state();
  constexpr uint64_t kTop = uint64_t{1} << 47;
  const uint64_t size = align_up(bytes, kPageSize), old_size = align_up(old_bytes, kPageSize);
  const bool sane = address_of(address).value % kPageSize == 0 && old_size && size && old_size < kTop && size < kTop &&
                    address_of(address).value + old_size < kTop && address_of(wanted).value + size < kTop;
  if (!enabled() || !sane || !s.job.attached()) return plain(address, old_bytes, bytes, flags, wanted);
  const AddressRange old = range_at(address_of(address), old_size);
  const AddressRange target = range_at(address_of(wanted), size);
  const bool fixed = (flags & MREMAP_FIXED) != 0;

  HookScope hook;
  const bool over_ours = fixed && s.pager.any_managed(target);
  const bool was_ours = s.pager.any_managed(old);
  if (!over_ours && !was_ours) return plain(address, old_bytes, bytes, flags, wanted);
  if (fixed && (target.overlaps(old) || address_of(wanted).value % kPageSize)) return -EINVAL;
  if (over_ours) {
    settle(s, target);
    if (!was_ours) {
      const long r = plain(address, old_bytes, bytes, flags, wanted);
      if (!is_error(r)) s.pager.remove(target, false);
      return r;
    }
    // The place must be free before pieces of ours arrive there; as with MAP_FIXED, what was there is gone.
    raw_syscall(SYS_munmap, as_arg(wanted), static_cast<long>(size));
    s.pager.remove(target, false);
  }

  if (was_ours && size > old_size) page_if_needed(s, size - old_size);
  settle(s, old);
  const bool paged = s.mode.load() == Mode::kPaged;
  const bool whole = wholly_managed(s, old);
  // The kernel itself fills what a locked mapping grows by, and would wait for the pager, which waits for us.
  const bool locked = paged && s.pager.any_pinned(old);
  if (!paged || !whole || locked || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED))) {
    if (paged) let_go(s, old);
    const long r = plain(address, old_bytes, bytes, flags, wanted);
    if (is_error(r)) return r;
    if (!paged) {
      s.pager.remove(old, true);
      if (whole && !(flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)))
        (void)s.pager.add(range_at({static_cast<uint64_t>(r)}, size), false);
    }
    return r;
  }
  if (size > old_size && cut_by_protection(s, old)) return -EFAULT;
  if (!fixed && size == old_size) return as_arg(address);
  if (!fixed && size < old_size) {
    const AddressRange tail = {old.begin + size, old.end};
    const long r = raw_syscall(SYS_munmap, static_cast<long>(tail.begin.value), static_cast<long>(tail.size()));
    if (!is_error(r)) s.pager.remove(tail, false);
    return is_error(r) ? r : as_arg(address);
  }
  if (!fixed) {
    const long r = grow_in_place(s, old, size);
    if (!is_error(r) || !(flags & MREMAP_MAYMOVE)) return is_error(r) ? -ENOMEM : r;
  }
  if (fixed && (target.begin - old.begin) % kExtentSize) {
    // Pages would change their place within their extents: plain memory moves there, and is adopted again.
    let_go(s, old);
    const long r = plain(address, old_bytes, bytes, flags, wanted);
    if (is_error(r)) return r;
    (void)s.pager.add(target, false);
    s.pager.look(target);
    return r;
  }
  unshare_edges(s, old);
  const long r = move_managed(s, old, size, flags, wanted);
  s.pager.pin(is_error(r) ? old : range_at({static_cast<uint64_t>(r)}, size), false);
  return r;
}

}  // namespace ebb::engine
