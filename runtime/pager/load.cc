// Loads: which pages come from the store for a touch, with it, and before it is asked for. Rules: see pager.h.
#include "base/log.h"
#include "pager/pager.h"

namespace ebb {
namespace {

constexpr unsigned kPagesPerRequest = 512;  // 2 MiB: a whole extent arrives at once
constexpr unsigned kMaxReads = 48;
// Whole extents: a thread that comes waits behind them. The second number when none has come for long.
constexpr unsigned kMaxPrefetch = 2, kMaxPrefetchLater = 8;
constexpr uint64_t kCalmNs = 10'000'000, kLongCalmNs = 100'000'000;  // without a thread that waited for a page
constexpr unsigned kMaxBeside = 2;          // read-ahead under way while threads wait for single pages: enough to keep
constexpr uint64_t kBesideNs = 10'000'000;  // a device busy, and each behind the other adds its time to theirs
constexpr unsigned kWorthWhole = kPagesPerExtent * 3 / 4;
constexpr Pages kMaxAhead{8192};  // 32 MiB read ahead of all streams together

}  // namespace

// A page that is in the store only and that a thread waits for, having touched its byte `offset`. True when the thread
// can go on at once.
bool Pager::demand_load(Extent& e, unsigned i, uint16_t offset) {
  const uint64_t page = e.page(i).value >> kPageShift;
  if (e.sample.test(i)) {  // its neighbours were copied
    neighbours_.touched(1);
    e.sample.clear(i);
  }
  Stream& s = loads_.observe(page, prefetching_ ? home_before(e, i) : 0);
  const bool sequential = s.hits >= Streams::kBelieved && !e.doubtful;
  unsigned first = i, last = i + 1;
  Stride* stride = nullptr;
  const bool scan = sequential && s.hits >= Streams::kProven;
  if (scan) drop_beside(e);
  if (sequential) {
    const uint64_t most = Streams::earned(s);
    if (s.direction > 0)
      last = most < kPagesPerExtent - i ? i + static_cast<unsigned>(most) : kPagesPerExtent;
    else
      first = most < i ? i - static_cast<unsigned>(most) : 0;
  } else if (!e.doubtful) {
    stride = &strides_.observe(e.page(i).value + offset);
    if (Strides::steps(*stride) == 0) {
      stride = nullptr;
      const bool beside = (i > 0 && e.resident.test(i - 1)) || s.hits > 0;
      neighbours_.missed(beside, e.resident.test((i + kPagesPerExtent / 2) % kPagesPerExtent));
      const PageRun around = block_of(i, neighbours_.window_of_miss());
      first = around.first;
      last = around.end();
    }
  }
  if (scan)
    e.read_ahead = true;
  else if (e.queue == Queue::kProbation)
    promote(e);
  if (!sequential) refaulted(e);
  PageSet pages = e.cold() & PageSet::of({first, last - first});
  if (stride) {
    const bool there = load_step(e, i, true);
    if (there || e.loading.test(i)) load_steps(*stride);
    if (e.loading.test(i)) e.wanted.set(i);
    return there;
  }
  if (store_.byte_addressable() ? !worth_whole(e, pages) : !scan) {
    const PageRun run = sequential && pages.test(i) ? PageRun{i, pages.next_gap(i) - i} : PageRun{i, 1};
    bool there = false;
    if (const unsigned count = load_from_memory(e, run, true, &there)) {
      random_ns_ = now_ns_;  // it did not wait for the device, but would for a large read before it
      Streams::provided(s, page + count);
      if (scan && there && load_gaps(e, pages))
        Streams::provided(s, s.direction > 0 ? page - i + last : page - i + first - 1);
      if (!sequential && there && load_neighbours(e, pages, i)) goes_on(s, e, i, e.resident);
      return there;
    }
  }
  if (pages.count() == 1 && load_alone(e, i)) {
    e.wanted.set(i);
    return false;
  }
  unsigned started = load(e, pages);
  if (!sequential && started) take_samples(e, pages & e.loading, i);
  // No room for all of it: what is waited for and a little of the walk, which stays a walk.
  for (unsigned part : {64u, 1u}) {
    if (started || e.loading.test(i) || !e.cold().test(i)) break;
    e.read_ahead = scan;
    if (s.direction > 0 || part == 1) last = i + part < last ? i + part : last;
    if (s.direction < 0 || part == 1) first = i + 1 > first + part ? i + 1 - part : first;
    pages &= PageSet::of({first, last - first});
    started = load(e, pages);
  }
  // Only what was believed counts as provided: a walk by larger steps than a page must not pass for a dense one.
  if (sequential && started) Streams::provided(s, s.direction > 0 ? page - i + last : page - i + first - 1);
  if (e.aside.test(i)) return bring_back(e, i);  // from memory: there already
  if (e.loading.test(i)) e.wanted.set(i);
  return false;
}

// An extent that is missed before as many others left as DRAM holds would have been kept by twice as much DRAM: it is
// used again and again, if too seldom for limbo to see it, where others only pass. Source of the distance: Linux,
// mm/workingset.c (Weiner, 2014).
void Pager::refaulted(Extent& e) {
  constexpr uint8_t kMost = 2;
  if (e.left_at && left_ - e.left_at < main_.size()) warm(e, kMost);
  e.left_at = 0;
}

// How many pages just before page `i` are at home, within reason.
uint64_t Pager::home_before(const Extent& e, unsigned i) {
  const unsigned first = e.resident.run_before(i);
  uint64_t count = i - first;
  for (Address base = e.base; first == 0 && count < kMaxAhead.count; count += kPagesPerExtent) {
    base = Address{base.value - kExtentSize};
    const Extent* before = table_.find(base);
    if (!before || !before->resident.full()) break;
  }
  return count;
}

// What has no latency to hide, on a tier in memory or in the page cache: copies the page and, of `run`, what comes next
// to it in the store. How many pages are dealt with; 0 when it is in neither place. `asked`: a thread waits for the
// page. `*there`: the thread need not wait.
unsigned Pager::load_from_memory(Extent& e, PageRun run, bool asked, bool* there) {
  run.count = store_.contiguous(e, run.first, run.count < kScratchPages ? run.count : kScratchPages);
  const SlotPlace place = store_.place(e, run.first);
  const bool cached = !store_.byte_addressable();
  if (cached && !place.cached) return 0;
  *there = false;
  if (!make_room({run.count})) {
    run.count = 1;
    if (!make_room({1})) return 1;
  }
  if (cached && store_.copy_in_cached(place, scratch_, run.count * kPageSize)) {
    budget_.release({run.count});
    return 0;
  }
  *there = load_at_once(e, run, asked, cached);
  return run.count;
}

// The same for all of `pages` that are still cold, ahead of need: a walk that comes through an extent of which single
// pages are there would wait at each gap. False when it stopped, for want of free room or at a page that is doubtful.
bool Pager::load_gaps(Extent& e, const PageSet& pages) {
  for (PageSet left = e.cold() & pages; left.any(); left = e.cold() & pages) {
    const PageRun run = left.next_run(0);
    bool there = false;
    if (budget_.room() < static_cast<int64_t>(run.count) || !load_from_memory(e, run, false, &there) || !there)
      return false;
  }
  return true;
}

// Copies to their places what of `pages` is in the same block as page `i`: no more, since nobody sees whether it is
// used, nor can it go before all of its extent does. One page, the sample, stays away. False when there is nothing to
// copy.
bool Pager::load_neighbours(Extent& e, const PageSet& pages, unsigned i) {
  PageSet beside = pages & PageSet::of(block_of(i));
  beside.remove(e.fenced);  // what is protected could not leave again
  take_samples(e, beside, i);
  beside.clear(i);
  beside.remove(e.sample);
  if (beside.none()) return false;
  load_gaps(e, beside);
  return true;
}

// A page of a walk by a constant step, alone and directly to its place, from the page cache at once; `asked`: a thread
// waits for it. True when the thread need not wait.
bool Pager::load_step(Extent& e, unsigned i, bool asked) {
  bool there = false;
  if (!load_from_memory(e, {i, 1}, asked, &there)) load_alone(e, i);
  return there;
}

// The next steps of such a walk, as far as there is free room.
void Pager::load_steps(Stride& s) {
  const unsigned most = Strides::steps(s);
  for (s.given = 0; s.given < most; ++s.given) {
    const Address next{s.after(s.given + 1)};
    Extent* e = table_.find(next.page());
    const unsigned i = next.page_in_extent();
    if (!e || !e->managed.test(i)) return;
    if (!e->armed || e->frozen || !e->cold().test(i)) continue;  // there already
    if (budget_.room() < static_cast<int64_t>(kPagesPerBlock) || !(load_step(*e, i, false) || e->loading.test(i)))
      return;
  }
}

// Of each group that was loaded beside page `i`, one page that is to be touched itself before it counts as used.
void Pager::take_samples(Extent& e, const PageSet& pages, unsigned i) {
  PageSet beside = pages;
  beside.clear(i);
  e.sample.remove(pages);
  for (unsigned at = beside.next(0); at < kPagesPerExtent;) {
    const PageRun group = block_of(at, neighbours_.group());
    take_sample(e, beside & PageSet::of(group), i, neighbours_);
    at = beside.next(group.end());
  }
}

// From memory to its place: hashed where it lies in a mapping, else in the scratch pages, which hold the run (`read`:
// they do already). The pages are charged.
bool Pager::load_at_once(Extent& e, PageRun run, bool asked, bool read) {
  const SlotPlace place = store_.place(e, run.first);
  const char* from = place.mapped ? place.mapped : scratch_;
  const Errno failed = place.mapped || read ? Errno{} : store_.copy_in(place, scratch_, run.count * kPageSize);
  if (failed && run.count > 1) {  // only what is waited for can be lost
    e.doubtful = true;
    budget_.release({run.count - 1});
    return load_at_once(e, {run.first, 1}, asked);
  }
  unsigned good = 0;
  while (!failed && good < run.count && is_as_written(e, run.first + good, from + good * kPageSize)) ++good;
  budget_.release({run.count - good});
  run.count = good;
  if (!good && !asked) {  // it may never be
    e.doubtful = true;
    return false;
  }
  if (!good) {
    if (failed) budget_.counters().read_errors.fetch_add(1, std::memory_order_relaxed);
    lost_page(e, run.first, failed ? errno_name(failed.value) : "does not hold what was written to it");
    return true;
  }
  e.huge = false;
  const Progress p = ops_.copy(e.page(run.first), from, Bytes{uint64_t{run.count} * kPageSize});
  const unsigned done = static_cast<unsigned>(p.done.count >> kPageShift);
  if (done < run.count) {
    budget_.release({run.count - done});
    ops_.wake(e.range(run));
  }
  e.resident.set(PageRun{run.first, done});
  touch_cold_count(-int64_t{done});
  budget_.counters().loaded_bytes.fetch_add(uint64_t{done} * kPageSize, std::memory_order_relaxed);
  if (e.queue == Queue::kNone) enqueue(e, e.read_ahead ? Queue::kProbation : Queue::kMain);
  e.read_ahead = false;
  return true;
}

// A few pages that were read beside others give way to a huge page for all, now that a walk comes.
void Pager::drop_beside(Extent& e) {
  if (e.away != Away::kReady || e.read_ahead || e.transfers || e.aside.minus(e.pristine).any() || !e.can_be_huge())
    return;
  if ((e.cold() | e.aside).count() >= kWorthWhole) drop_pristine(e);
}

// Whether these cold pages are worth a huge page: nearly all of the extent, and the rest can be gathered.
bool Pager::worth_whole(const Extent& e, const PageSet& pages) const {
  return pages.count() >= kWorthWhole && e.slot == kNoSlot && e.can_be_huge() && pages == e.cold() &&
         e.writing.none() && e.loading.none() && e.aside.none();
}

bool Pager::take_load_slot(Extent& e, const PageSet& pages) {
  if (worth_whole(e, pages) && make_whole_slot(e) != WholeSlot::kNone) return true;
  e.slot = slots_.take_for_load(pages);
  // All in use: what waits longest out of sight gives its slot up.
  for (Extent* oldest : {ready_.front(), limbo_.front()}) {
    if (e.slot != kNoSlot) break;
    if (!oldest || oldest == &e) continue;
    (void)evict_aside(*oldest);
    e.slot = slots_.take_for_load(pages);
  }
  return e.slot != kNoSlot;
}

// Starts reading these cold pages into the extent's slot, from memory at once; how many were started (what did not fit
// the budget, the queue or the slots is left for later).
unsigned Pager::load(Extent& e, const PageSet& pages) {
  if (pages.none() || (e.slot == kNoSlot && !take_load_slot(e, pages))) return 0;
  unsigned started = 0;
  ++e.frozen;  // what makes room for it must not take its own slot away
  for (PageRun run = pages.next_run(0); !run.empty();) {
    // From memory it went home at once (`hot`), and the slot with it.
    if (e.slot == kNoSlot && !take_load_slot(e, pages)) break;
    unsigned count = run.count < kPagesPerRequest ? run.count : kPagesPerRequest;
    count = store_.contiguous(e, run.first, count);
    const PageRun piece = {run.first, count};
    const PageSet fresh = PageSet::of(piece).minus(slots_.present(e.slot));
    if (!make_room(fresh.pages())) break;
    const SlotPlace place = store_.place(e, piece.first);
    Errno failed{};
    if (store_.byte_addressable()) {
      failed = store_.copy_in(place, slots_.address(e.slot, piece.first).pointer<char>(), piece.count * kPageSize);
    } else if (!submit({.extent = &e, .run = piece, .write = false}, place)) {
      budget_.release(fresh.pages());
      break;
    }
    slots_.entered(e.slot, PageSet::of(piece));
    e.loading.set(piece);
    touch_cold_count(-int64_t{piece.count});
    if (store_.byte_addressable()) {
      Transfer copied = {.extent = &e, .run = piece, .write = false, .retried = true};
      finish_read(copied, failed ? -failed.value : static_cast<int32_t>(piece.count * kPageSize));
    }
    started += count;
    run = pages.next_run(piece.end());
  }
  --e.frozen;
  leave_slot_if_idle(e);
  return started;
}

void Pager::read_ahead() {
  if (draining_) return;
  for (Stream& s : loads_)
    if (s.hits >= Streams::kProven && loads_.recent(s)) read_ahead(s);
}

// Keeps a window in front of a walk loading or ready. Stops at what is not managed.
void Pager::read_ahead(Stream& s) {
  const uint64_t earned = Streams::earned(s);
  uint64_t window = earned;
  const uint64_t share = pages_covering(budget_.limit()).count / 16;
  const uint64_t most = share < kMaxAhead.count ? share : kMaxAhead.count;
  if (window > most) window = most;
  uint64_t page = s.direction > 0 ? s.next : s.next + 1;
  const unsigned reads = now_ns_ - random_ns_ < kBesideNs ? kMaxBeside : kMaxReads;
  for (uint64_t seen = 0; seen < window;) {
    if (reads_ >= reads || ready_pages_.count >= most || starved_) return;
    const uint64_t probe = s.direction > 0 ? page : page - 1;
    Extent* e = table_.find({probe << kPageShift});
    if (!e) return;
    const uint64_t base = e->base.value >> kPageShift;
    // A young walk gets parts of extents, another one whole ones.
    const uint64_t left = earned < kPagesPerExtent ? earned - seen : kPagesPerExtent;
    unsigned first = s.direction > 0 ? static_cast<unsigned>(page - base) : 0;
    unsigned last = s.direction > 0 ? static_cast<unsigned>(kPagesPerExtent) : static_cast<unsigned>(page - base);
    if (left < last - first) {
      if (s.direction > 0)
        last = first + static_cast<unsigned>(left);
      else
        first = last - static_cast<unsigned>(left);
    }
    if (e->managed.none()) return;
    if (e->armed && !e->frozen && !e->doubtful) {
      drop_beside(*e);
      const PageSet cold = e->cold() & PageSet::of({first, last - first});
      if (cold.any()) {
        if (store_.byte_addressable() && !worth_whole(*e, cold)) return;  // copied when it is asked for
        // Ahead of need only from free room: a waiting thread has the first claim.
        const Pages free = Pages{static_cast<uint64_t>(budget_.room() > 0 ? budget_.room() : 0)} + slots_.spare();
        if (free < cold.pages()) return;
        e->read_ahead = true;
        if (load(*e, cold) < cold.count()) return;
        // From memory it took our own time: look for faults before the next.
        if (store_.byte_addressable()) {
          busy_ = true;
          return;
        }
      }
    }
    seen += last - first;
    page = s.direction > 0 ? base + last : base + first;
  }
}

// What was in DRAM before a snapshot, in order of addresses, an extent at a time. A program that comes back touches
// some pages here and there before it answers, and would wait for a large read at each: it has the device for itself at
// first, and later nearly so.
void Pager::prefetch() {
  const uint64_t calm_ns = now_ns_ - random_ns_;
  const unsigned most = calm_ns >= kLongCalmNs               ? kMaxPrefetchLater
                        : calm_ns >= kCalmNs                 ? kMaxPrefetch
                        : now_ns_ < prefetch_waits_until_ns_ ? 0
                                                             : 1;
  prefetch_held_ = most == 0;
  while (reads_ < most) {
    Extent* const e = table_.next(prefetch_at_);
    if (!e) {
      prefetching_ = false;
      return;
    }
    const PageSet pages = e->hot & e->cold();
    if (budget_.room() < static_cast<int64_t>((pages.pages() + headroom()).count)) {
      prefetching_ = false;
      return;
    }
    prefetch_at_ = e->base + kExtentSize;
    if (pages.none() || !e->armed || e->frozen || e->doubtful || !load(*e, pages)) {
      e->hot = {};
      continue;
    }
    // It took our own time, from the page cache too: look for faults before the next.
    busy_ = true;
    return;
  }
}

// One page that is likely to stay alone: through a buffer of ours, which costs less than a page of a slot that is made,
// moved and missed.
bool Pager::load_alone(Extent& e, unsigned i) {
  if (!alone_free_ || !make_room({1})) return false;
  const unsigned buffer = static_cast<unsigned>(__builtin_ctzll(alone_free_));
  Transfer t = {.extent = &e, .run = {i, 1}, .write = false};
  t.alone = alone_ + buffer * kPageSize;
  if (!submit(t, store_.place(e, i))) {
    budget_.release({1});
    return false;
  }
  alone_free_ &= alone_free_ - 1;
  e.loading.set(i);
  touch_cold_count(-1);
  return true;
}

}  // namespace ebb
