// Faults: what happens when the program touches a page that is not there. Rules: see pager.h.
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "pager/pager.h"

namespace ebb {
namespace {

constexpr uint8_t kMaxHeat = 5;
constexpr unsigned kManyIdle = 64;  // pages: each call makes other processors forget translations
// More time in limbo for every touch of an extent there: each costs the program time.
constexpr uint64_t kMoreTimeNs = 1'000'000;

}  // namespace

void Pager::read_faults() {
  Fault faults[16];
  for (;;) {
    const unsigned n = ops_.read_faults(faults, 16);
    for (unsigned i = 0; i < n; ++i) {
      budget_.counters().faults.fetch_add(1, std::memory_order_relaxed);
      // Without memory for the list the fault is served now or, after a wake-up, comes again.
      if (!waiters_.push_back({faults[i].address, now_ns_, false, faults[i].write_protect, faults[i].offset}))
        ops_.wake(range_at(faults[i].address, kPageSize));
    }
    if (n < 16) return;
  }
}

void Pager::serve_waiters() {
  starved_ = stalled_ = false;
  size_t kept = 0;
  for (size_t i = 0; i < waiters_.size(); ++i) {
    const Waiter w = waiters_[i];
    gave_way_ = false;
    Extent* e = table_.find(w.page);
    const bool served = serve(w, e);
    if (e) keep(*e, served);
    if (!served) {
      if (e && !e->read_ahead && e->wanted.test(w.page.page_in_extent())) {
        stalled_ = true;
        random_ns_ = now_ns_;
      }
      waiters_[kept++] = {w.page, w.since_ns, true, w.write, w.offset};
      continue;
    }
    budget_.counters().stall_ns.fetch_add(clock_.now_ns() - w.since_ns, std::memory_order_relaxed);
  }
  while (waiters_.size() > kept) waiters_.pop_back();
}

// What a thread waited for is not evicted in the same round; if the budget had to give way for it, not before the
// thread had time to run: else it would be taken at once, for ever and ever.
void Pager::keep(Extent& e, bool there) {
  if (gave_way_) e.given = true;
  if (!there) return;
  e.keep_until_ns = now_ns_ + (e.given ? kKeepNs : 1);
  e.given = false;
}

// True when the thread that faulted goes on (or will fault again); false when it has to wait.
bool Pager::serve(const Waiter& w, Extent* e) {
  const Address fault = w.page;
  const unsigned i = fault.page_in_extent();
  if (!e || !e->managed.test(i) || !e->armed) {
    ops_.wake(range_at(fault, kPageSize));
    return true;
  }
  if (e->frozen) return false;
  if (e->resident.test(i) && w.write) return own(*e, i);
  if (e->resident.test(i)) {
    if (w.seen) return true;  // what brought it has woken the thread
    recheck(*e, i);
    if (e->resident.test(i)) return true;
  }
  if (e->loading.test(i)) {
    e->wanted.set(i);
    if (!w.seen && e->read_ahead) walked(*e, i, e->loading | e->resident | e->pristine);
    return false;
  }
  if (e->aside.test(i)) return bring_back(*e, i);
  if (e->stored.test(i)) return demand_load(*e, i, w.offset);
  return grant_zeros(*e, i);
}

// A fault on a page that we believe is there: answered already, or the program dropped it by a raw system call that we
// did not see; then it reads as zeros, as it would without us.
void Pager::recheck(Extent& e, unsigned i) {
  const PageSet present = ops_.present(e.base, nullptr);
  const PageSet gone = e.resident.minus(present);
  if (gone.test(i)) {
    release_resident(e, gone);
    store_.forget(e, gone.minus(e.writing));
    return;
  }
  ops_.wake(range_at(e.page(i), kPageSize));
}

// A walk came to page `i`, and finds those of `there` that follow without another fault.
void Pager::walked(const Extent& e, unsigned i, const PageSet& there) {
  const uint64_t base = e.base.value >> kPageShift;
  if (loads_.provided(base + i)) return;
  Stream& s = loads_.observe(base + i);
  if (s.hits) goes_on(s, e, i, there);
}

// Where a walk that is at page `i` faults next.
void Pager::goes_on(Stream& s, const Extent& e, unsigned i, const PageSet& there) {
  const uint64_t base = e.base.value >> kPageShift;
  Streams::provided(s, s.direction > 0 ? base + there.next_gap(i) : base + there.run_before(i) - 1);
}

// What returns with page `i` of its group: all but the sample, unless that is what was touched.
PageSet Pager::group_without_sample(Extent& e, unsigned i, const PageSet& group, const PageSet& samples,
                                    Neighbours& judge) {
  if (!samples.test(i)) return group.minus(samples);
  judge.touched(1);
  e.sample.remove(group);
  return group;
}

// One of `pages` other than `i` is to be touched itself before it counts as used.
void Pager::take_sample(Extent& e, const PageSet& pages, unsigned i, Neighbours& judge) {
  PageSet others = pages;
  others.clear(i);
  unsigned sample = others.next(0);
  for (unsigned n = judge.pick(others.count()); n; --n) sample = others.next(sample + 1);
  e.sample.set(sample);
}

bool Pager::bring_back(Extent& e, unsigned i) {
  const bool ahead = e.pristine.test(i);
  if (e.writing.test(i)) return copy_from_slot(e, i);

  const PageSet movable = e.aside.minus(e.writing);
  PageSet back;
  if (ahead) {
    back = movable & e.pristine;
    if (!e.read_ahead) {
      const PageSet group = movable & PageSet::of(block_of(i, neighbours_.group()));
      back = group_without_sample(e, i, group, e.sample & e.pristine, neighbours_);
    }
    walked(e, i, back | e.resident);
  } else {
    // Once a quarter of what went aside is back the extent is in use, and has more time until it is looked at again.
    const PageSet all = movable.minus(e.pristine);
    if (slots_.whole(e.slot) && movable.full()) {
      back = movable;  // a huge page returns as one: taking it apart costs more than its coldest pages are worth
    } else {
      const PageRun around = block_of(i, in_use_.window_of_miss());
      const PageSet group = all & PageSet::of(around);
      if (!(e.sample & group).any() && group.count() > 1) take_sample(e, group, i, in_use_);
      back = group_without_sample(e, i, group, e.sample.minus(e.pristine), in_use_);
      if (run_ns_ - e.aside_since_ns > kMoreTimeNs) e.aside_since_ns += kMoreTimeNs;
    }
    const bool was = e.touches * 3 >= e.aside.count();
    e.touches = static_cast<uint16_t>(e.touches + back.count());
    if (!was && (back == movable || e.touches * 3 >= e.aside.count())) {
      warm(e, kMaxHeat);
      probed(true);
    }
    budget_.counters().returned_bytes.fetch_add(to_bytes(back.pages()).count, std::memory_order_relaxed);
  }
  move_home(e, back);
  if (e.aside.test(i)) return copy_from_slot(e, i);  // the kernel would not move it
  return e.resident.test(i);
}

// For a page that cannot be moved: being written just now, or in a mapping whose protection differs from the slot's.
// False when it has to wait for room.
bool Pager::copy_from_slot(Extent& e, unsigned i) {
  const bool stays = e.writing.test(i);  // in the slot, and charged
  if (stays && !make_room({1})) {
    e.wanted.set(i);  // at the latest when it is written
    return false;
  }
  e.huge = false;
  const Progress p = ops_.copy(e.page(i), slots_.address(e.slot, i).pointer(), Bytes{kPageSize});
  const bool done = p.done.count != 0;
  const bool gone = p.error.value == ENOENT;  // its mapping is, by a raw munmap
  if (done || gone) left_aside(e, PageSet::of({i, 1}));
  if (done) {
    if (!stays) slots_.drop(e.slot, PageSet::of({i, 1}));
    e.resident.set(i);
  } else {
    if (stays) budget_.release({1});
    if (gone && !stays) slots_.discard(e.slot, PageSet::of({i, 1}));
    ops_.wake(range_at(e.page(i), kPageSize));  // the thread looks again
  }
  leave_slot_if_idle(e);
  return true;
}

void Pager::move_home(Extent& e, const PageSet& wanted) {
  PageSet pages = wanted;
  const bool whole = pages == e.aside && gather(e);
  if (whole) pages = e.aside;
  PageSet moved;
  if (pages == slots_.present(e.slot) && e.resident.none())
    moved = move_at_once(e.base, slots_.address(e.slot, 0), pages, PageSet::all());
  pages.minus(moved).for_each_run([&](PageRun run) {
    unsigned at = run.first;
    while (at < run.end()) {
      const unsigned left = run.end() - at;
      const Progress p = ops_.move(e.page(at), slots_.address(e.slot, at), Bytes{uint64_t{left} * kPageSize});
      const unsigned done = static_cast<unsigned>(p.done.count >> kPageShift);
      moved.set(PageRun{at, done});
      at += done;
      if (at >= run.end()) return;
      // The slot's page stays where it is; whoever needs it gets a copy. Try the next one.
      ++at;
    }
  });
  e.huge = whole && moved.full();
  slots_.left(e.slot, moved);
  e.resident |= moved;
  left_aside(e, moved);
  leave_slot_if_idle(e);
}

// By moving where the kernel does that, else by copying. None of `pages` is being written.
void Pager::bring_home(Extent& e, const PageSet& pages) {
  move_home(e, pages);
  const PageSet stuck = e.aside & pages;
  for (unsigned i = stuck.next(0); i < kPagesPerExtent; i = stuck.next(i + 1)) copy_from_slot(e, i);
}

// Makes the huge page in the extent's slot complete, so that it can be moved home as one: the few pages that are home
// are copied into it, what never was touched is zero. Everything is aside then. False when that cannot be, or does not
// pay; nothing has changed then, but that some pages at home may have had to be moved to and fro.
bool Pager::gather(Extent& e) {
  constexpr unsigned kFew = kPagesPerExtent / 4;
  if (e.slot == kNoSlot || !slots_.whole(e.slot) || !e.can_be_huge()) return false;
  if (e.writing.any() || e.loading.any() || e.cold().any() || e.resident.count() > kFew) return false;
  const PageSet home = e.resident;
  if (home.any()) {
    const uint32_t through = slots_.take_empty(false);
    if (through == kNoSlot) return false;
    PageSet moved;
    home.for_each_run([&](PageRun run) {
      const Progress p =
          ops_.move(slots_.address(through, run.first), e.page(run.first), Bytes{uint64_t{run.count} * kPageSize});
      moved.set(PageRun{run.first, static_cast<unsigned>(p.done.count >> kPageShift)});
    });
    slots_.entered(through, moved);
    const bool all = moved == home;
    for (unsigned i = moved.next(0); i < kPagesPerExtent; i = moved.next(i + 1))
      __builtin_memcpy(slots_.address(e.slot, i).pointer(), slots_.address(through, i).pointer(), kPageSize);
    slots_.discard(through, moved);
    slots_.give(through);
    e.resident.remove(moved);
    e.clean.remove(moved);
    e.aside |= moved;
    if (!all) return false;  // a page is pinned by someone: the others follow one by one
  }
  const PageSet untouched = PageSet::all().minus(e.aside);
  untouched.for_each_run(
      [&](PageRun run) { __builtin_memset(slots_.address(e.slot, run.first).pointer(), 0, run.count * kPageSize); });
  e.aside |= untouched;
  // The page table that is left at home is in the way. A page that we do not know of must not go with it.
  if (ops_.present(e.base, nullptr).none()) ops_.discard(range_at(e.base, kExtentSize));
  return true;
}

// Gives the slot back once nothing of the extent is in it, or what it holds idly, and the extent its place among the
// resident ones.
void Pager::leave_slot_if_idle(Extent& e) {
  if (e.aside.none()) {
    set_away(e, Away::kNone);
    if (e.slot != kNoSlot && e.writing.none() && e.loading.none()) {
      slots_.give(e.slot);
      e.slot = kNoSlot;
    }
  }
  // Memory without content that nobody can use while the slot is in use. A part of a huge page would free none.
  if (e.slot != kNoSlot && !e.frozen) {
    const PageSet idle = slots_.present(e.slot).minus(e.aside).minus(e.writing).minus(e.loading);
    if (idle.count() >= kManyIdle && !slots_.still_whole(e.slot)) slots_.discard(e.slot, idle);
  }
  if (e.queue == Queue::kNone && e.resident.any() && e.away == Away::kNone)
    enqueue(e, e.read_ahead ? Queue::kProbation : Queue::kMain);
  if (e.aside.none() && e.loading.none()) {
    e.read_ahead = false;
    e.touches = 0;
  }
}

}  // namespace ebb
