// Fills: what a touch of a page gets that nobody has written to yet, and what a walk through such pages gets ahead of
// it. Rules: see pager.h.
#include "pager/pager.h"

namespace ebb {
namespace {

alignas(kPageSize) constinit const char kZeros[kPagesPerBlock * kPageSize] = {};

}  // namespace

// Walks go downwards, too: memmove() copies from the end between objects that lie alike in their pages, as large ones
// do.
bool Pager::grant_zeros(Extent& e, unsigned i) {
  const uint64_t page = e.page(i).value >> kPageShift, base = e.base.value >> kPageShift;
  Stream& s = fills_.observe(page);
  const bool up = s.direction > 0, believed = s.hits >= Streams::kBelieved;
  // What is filled from one end is likely to be filled to the other.
  const bool at_end = i == (up ? 0 : kPagesPerExtent - 1);
  if ((believed || at_end) && grant_whole(e)) {
    Streams::provided(s, up ? base + kPagesPerExtent : base - 1);
    if (believed) grant_ahead(e.base, up);
    return true;
  }
  PageRun run = worth_filling(e, i, s);
  if (!make_room({run.count})) {
    run = {i, 1};
    if (!make_room({1})) return false;
  }
  const unsigned filled = fill(e, i, run), given = filled ? filled : 1;
  Streams::provided(s, up ? page + given : page - given);
  if (e.queue == Queue::kNone && e.away == Away::kNone) enqueue(e, Queue::kMain);
  return true;
}

// Which pages to give with page `i`: so many as mostly came to be used, and the next ones of a walk.
PageRun Pager::worth_filling(const Extent& e, unsigned i, const Stream& s) {
  const PageRun around = block_of(i, fresh_.window_of_miss());
  unsigned first = around.first, end = around.end();
  if (s.hits >= Streams::kBelieved) {
    const uint64_t earned = Streams::earned(s);
    const unsigned most = earned < kPagesPerExtent ? static_cast<unsigned>(earned) : kPagesPerExtent;
    if (end < i + most) end = i + most < kPagesPerExtent ? i + most : kPagesPerExtent;
    if (first + most > i + 1) first = i + 1 > most ? i + 1 - most : 0;
  }
  // What the program protected it does not fill, and it could not leave again.
  const PageSet empty = e.fenced.test(i) ? PageSet::of({i, 1}) : e.empty().minus(e.fenced);
  if (s.direction > 0) {
    const unsigned gap = empty.next_gap(i);
    end = gap < end ? gap : end;
    return {i, end > i ? end - i : 1};
  }
  const unsigned begin = empty.run_before(i);
  first = begin > first ? begin : first;
  return {first, i + 1 - first};
}

// Zeros for `run`, of which page `i` is one end, and whose charge is there. A thread waits for page `i`: it goes on
// before the others are cleared. How many were filled in a row from that end.
unsigned Pager::fill(Extent& e, unsigned i, PageRun run) {
  const bool up = run.first == i;
  e.huge = false;
  unsigned row = 0, filled = 0, done = 0;
  for (unsigned piece = 0; row < run.count; row += piece) {
    const unsigned left = run.count - row;
    piece = left < kPagesPerBlock ? left : kPagesPerBlock;
    const unsigned at = up ? i + row : i + 1 - row - piece;
    const Progress p = ops_.copy(e.page(at), kZeros, Bytes{uint64_t{piece} * kPageSize});
    done = static_cast<unsigned>(p.done.count >> kPageShift);
    e.resident.set(PageRun{at, done});
    filled += done;
    if (done < piece) break;
  }
  if (filled < run.count) {
    budget_.release({run.count - filled});
    ops_.wake(range_at(e.page(i), kPageSize));
  }
  budget_.counters().zero_bytes.fetch_add(uint64_t{filled} * kPageSize, std::memory_order_relaxed);
  return row;
}

// The extent's slot is whole, with its pages charged; kNone when there is no slot, no room or no memory.
Pager::WholeSlot Pager::make_whole_slot(Extent& e) {
  e.slot = slots_.take_whole();
  if (e.slot == kNoSlot) return WholeSlot::kNone;
  if (slots_.whole(e.slot)) return WholeSlot::kUsed;
  if (make_room({kPagesPerExtent})) {
    if (slots_.make_whole(e.slot)) return WholeSlot::kZeros;
    budget_.release({kPagesPerExtent});
  }
  slots_.give(e.slot);
  e.slot = kNoSlot;
  return WholeSlot::kNone;
}

// A walk through fresh memory gets a huge page at a time. False when that cannot be.
bool Pager::grant_whole(Extent& e) {
  if (!e.can_be_huge() || !e.empty().full() || e.slot != kNoSlot) return false;
  const WholeSlot slot = make_whole_slot(e);
  if (slot == WholeSlot::kNone) return false;
  e.aside = PageSet::all();
  if (slot == WholeSlot::kUsed) __builtin_memset(slots_.address(e.slot, 0).pointer(), 0, kExtentSize);
  move_home(e, e.aside);
  if (e.aside.any()) settle_extent(e);
  budget_.counters().zero_bytes.fetch_add(kExtentSize, std::memory_order_relaxed);
  return true;
}

// The next extents of such a walk, as far as there is room: the program goes on while we clear them.
void Pager::grant_ahead(Address from, bool up) {
  constexpr unsigned kAhead = 4;
  for (unsigned k = 1; k <= kAhead; ++k) {
    const uint64_t away = k * kExtentSize;
    Extent* e = table_.find(up ? from + away : from - away);
    if (!e || e->frozen) return;
    if (!e->empty().full()) continue;
    const int64_t room = budget_.room() + static_cast<int64_t>(slots_.spare().count);
    if (room < static_cast<int64_t>(2 * kPagesPerExtent) || !grant_whole(*e)) return;
  }
}

}  // namespace ebb
