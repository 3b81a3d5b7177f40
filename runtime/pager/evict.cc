// Eviction: which pages leave DRAM, and how they leave it. Rules: see pager.h.
//
// A victim is moved out of sight first (limbo). A touch brings it back and shows that it is in use; silence lets it go:
// unchanged pages are dropped, zero pages forgotten, the rest written. Nothing here can race with the program: what is
// out of sight does not change.
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "pager/pager.h"

namespace ebb {
namespace {

constexpr unsigned kMaxWrites = 32;
constexpr unsigned kLeastShare = 512;           // of the main queue, when all that was probed there is in use
constexpr uint64_t kProbeNs = 10'000'000;       // in limbo: longer than a thread waits for a processor
constexpr uint64_t kStaleNs = 1'000'000'000;    // read ahead and not touched for so long: given up
constexpr uint64_t kBlockedNs = 1'000'000'000;  // after a failed write, before the next try
constexpr uint64_t kSayAgainNs = 60'000'000'000;
constexpr uint64_t kWhoSharesNs = 100'000'000;  // so often it is looked at whether pages are shared still
constexpr unsigned kLooks = 512;                // extents passed over in one search
constexpr uint64_t kPatienceNs = 200'000'000;   // how long a touch waits for room before the budget gives way

}  // namespace

// Free room that is kept so that a touch need not wait for an eviction.
Pages Pager::headroom() const {
  // As much as read-ahead needs to keep a device busy.
  const uint64_t share = pages_covering(budget_.limit()).count / 24;
  const uint64_t least = kPagesPerExtent + 128, most = 16384;
  return {share < least ? least : share > most ? most : share};
}

// Charges `wanted`, evicting for it as far as that is possible at once.
bool Pager::make_room(Pages wanted) {
  if (wanted.count == 0) return true;
  bool more = true;
  for (int tries = 0; tries < 10; ++tries) {
    if (budget_.try_charge(wanted, budget_.pressure(now_ns_))) {
      starved_since_ns_ = 0;
      return true;
    }
    if (slots_.drop_spare(wanted).count) continue;
    // What is on its way out will do: to evict more meanwhile would empty DRAM at the speed of faults.
    if (!more || leaving_ >= wanted + headroom()) break;
    more = evict_step();
  }
  // Nothing is on its way out and nothing can be (all is locked, or the store takes nothing): rather over the budget
  // than a program that hangs.
  if (!starved_since_ns_) starved_since_ns_ = now_ns_;
  if (!more && budget_.shared()) budget_.press(wanted + headroom(), now_ns_);
  if (!transfers_ && !unripe_ && now_ns_ - starved_since_ns_ > kPatienceNs) {
    budget_.charge(wanted);
    gave_way_ = true;
    const int64_t over = -budget_.room();
    if (over > 0) Budget::raise(budget_.counters().over_budget_bytes, static_cast<uint64_t>(over) << kPageShift);
    return true;
  }
  starved_ = true;
  return false;
}

void Pager::balance() {
  const Pages target = headroom() + budget_.pressure(now_ns_);
  if (const int64_t over = -budget_.room(); over > 0) slots_.drop_spare({static_cast<uint64_t>(over)});
  for (int steps = 0; steps < 64; ++steps) {
    // Spare pages are as good as room: the next load uses them, and whoever needs room frees them.
    const int64_t missing =
        static_cast<int64_t>(target.count) - budget_.room() - static_cast<int64_t>(slots_.spare().count);
    if (missing <= 0) return;
    if (missing <= static_cast<int64_t>(leaving_.count)) return;  // enough is on its way out
    if (io_ && steps == 0) io_->flush();                          // the device works meanwhile
    if (!evict_step()) return;
    // Threads that wait come first; what they do not need is left for the next round.
    read_faults();
    if (!starved_ && !waiters_.empty()) break;
  }
  busy_ = true;
}

void Pager::shrink_for_fork() {
  draining_ = false;
  now_ns_ = clock_.now_ns();
  hurry_ = true;  // the program stands still: time would show nothing
  // A step that frees nothing lets an extent pass to the end of its queue: after so many, all had their turn.
  const uint64_t turns = 2 * (main_.size() + probation_.size() + limbo_.size() + ready_.size());
  const uint64_t most = pages_covering(budget_.limit()).count / 4 * 3;
  for (uint64_t turn = 0; turn < turns; ++turn) {
    const uint64_t shared = budget_.shared_pages().count, more = (budget_.own() - budget_.lent()).count;
    if (shared + more <= most || more <= leaving_.count) break;
    if (slots_.drop_spare({kPagesPerExtent}).count) continue;
    if (shared + more - leaving_.count <= most || !evict_step()) break;
  }
  hurry_ = false;
}

// One move towards less DRAM in use. False when nothing can be done now.
bool Pager::evict_step() {
  if (drop_ready()) return true;
  if (!store_.byte_addressable() && writes_ >= kMaxWrites) return false;  // what else would go waits better at home
  Extent* oldest = limbo_.front();
  const uint64_t share = eighth_of_budget();
  const uint64_t most = share < 2 ? 2 : share > 256 ? 256 : share;
  if (oldest && ripe(*oldest) && evict_aside(*oldest)) return true;
  if (Extent* victim = limbo_.size() >= most || slots_.all_used() ? nullptr : pick_victim()) {
    const bool urgent = victim->queue == Queue::kProbation;
    dequeue(*victim);
    move_aside(*victim, victim->evictable().minus(victim->writing), urgent);
    return true;  // moved, or not movable now: then it waits at the end of the queue
  }
  // What only needs time will be room soon; what a hook works on may wait for the very thread that needs room.
  oldest = limbo_.front();
  unripe_ = oldest && !oldest->frozen && !ripe(*oldest);
  if (unripe_) return false;
  // Nothing but what was read ahead is left to take from, or it has all the slots.
  Extent* ahead = ready_.front();
  return ahead && evict_aside(*ahead);
}

// In extents: what may be in limbo at once, and what a scan may keep.
uint64_t Pager::eighth_of_budget() const { return pages_covering(budget_.limit()).count / kPagesPerExtent / 8; }

// Whether what is in limbo had the time to be touched.
bool Pager::ripe(const Extent& e) const { return hurry_ || e.urgent || run_ns_ - e.aside_since_ns >= kProbeNs; }

// Found in use: the clock passes it some times, twice as often each time this happens, up to `most` doublings.
void Pager::warm(Extent& e, uint8_t most) {
  if (e.heat < most) ++e.heat;
  e.skip = static_cast<uint8_t>((1u << e.heat) - 1);
}

// What a probe of the main queue found: as long as all of it is in use, a scan has no need to disturb it.
void Pager::probed(bool in_use) {
  if (in_use)
    main_share_ = main_share_ < kLeastShare ? main_share_ + main_share_ / 8 : kLeastShare;
  else if (main_share_ > kMainShare)
    main_share_ = main_share_ / 2 > kMainShare ? main_share_ / 2 : kMainShare;
}

// Pages that were read before they were asked for and were not touched: free to drop.
bool Pager::drop_ready() {
  Extent* e = ready_.front();
  if (!e || e->frozen) return false;
  const uint64_t share = pages_covering(budget_.limit()).count / 12;
  if (now_ns_ - e->aside_since_ns < kStaleNs && ready_pages_.count < share) return false;
  return evict_aside(*e);
}

// Sends what waits in the slot to the store. True when something left or is leaving.
bool Pager::evict_aside(Extent& e) {
  if (e.frozen) {  // a hook has it; let the others pass
    const Away away = e.away;
    set_away(e, Away::kNone);
    set_away(e, away);
    return false;
  }
  if (e.away == Away::kLimbo && !e.urgent) probed(false);
  const PageSet pages = e.aside.minus(e.writing);
  PageSet dropped = pages & (e.pristine | same_in_store(e));
  const PageSet samples = e.sample & pages;
  const PageSet left_away = e.sample & e.cold();
  if (!e.read_ahead) neighbours_.dropped((left_away | (samples & e.pristine)).count());
  in_use_.dropped(samples.minus(e.pristine).count());
  e.sample.remove(samples | left_away);
  Compared seen;
  pages.minus(dropped).for_each_run([&](PageRun run) {
    view(e, run, [&](PageRun part, const char* contents) { compare(e, part, contents, seen); });
  });
  dropped |= seen.stored;
  const PageSet &zero = seen.zero, &dirty = seen.changed;
  // What was given and is still zero was not used; what is written for the first time was. A huge page says nothing of
  // what is given around a touch: it was given to a walk, or ahead of one.
  if (!slots_.whole(e.slot)) fresh_.judged(dirty.minus(e.stored).count(), zero.minus(e.stored).count());
  store_.forget(e, zero);
  const PageSet gone = dropped | zero;
  left_aside(e, gone);
  e.left_at = ++left_;
  touch_cold_count(dropped.count());
  budget_.counters().evicted_bytes.fetch_add(to_bytes(gone.pages()).count, std::memory_order_relaxed);
  const bool leaves = dirty.none() || write_out(e, dirty) || gone.any();
  leave_slot_if_idle(e);
  return leaves;
}

bool Pager::write_out(Extent& e, const PageSet& dirty) {
  if (now_ns_ < store_blocked_until_ns_) return give_up_eviction(e), false;
  const auto entry = store_.writable(e);
  if (!entry.ok() || !hashes(e)) {
    write_failed(entry.ok() ? Errno{ENOMEM} : entry.error());
    return give_up_eviction(e), false;
  }
  StoreEntry& to = *entry.value();
  PageSet left;
  for (PageRun run = dirty.next_run(0); !run.empty(); run = dirty.next_run(run.end())) {
    while (run.count) {
      const PageRun piece = {run.first, run.count < 256 ? run.count : 256};
      if (!write_piece(e, to, piece)) return left.any();
      left.set(piece);
      run = {piece.end(), run.count - piece.count};
    }
  }
  // All of it is on its way: the slot is given back by the last completion.
  if (e.aside.minus(e.writing).none()) set_away(e, Away::kNone);
  return true;
}

bool Pager::write_piece(Extent& e, StoreEntry& entry, PageRun piece) {
  const SlotPlace place = store_.place_in(entry, piece.first);
  const PageSet pages = PageSet::of(piece);
  if (!store_.byte_addressable() && writes_ >= kMaxWrites) return false;
  bind_hashes(e, entry, piece);
  const uint64_t bytes = uint64_t{piece.count} * kPageSize;
  if (store_.byte_addressable()) {
    Errno failed{};
    view(e, piece, [&](PageRun part, const char* contents) {
      if (!failed) failed = store_.copy_out(store_.place_in(entry, part.first), contents, part.count * kPageSize);
    });
    if (failed) {
      write_failed(failed);
      store_.forget(e, pages);  // whatever is in the file now, it is not to be trusted
      return false;
    }
    store_.commit(e, entry, pages);
    left_aside(e, pages);
    touch_cold_count(piece.count);
    budget_.counters().written_bytes.fetch_add(bytes, std::memory_order_relaxed);
    budget_.counters().evicted_bytes.fetch_add(bytes, std::memory_order_relaxed);
    return true;
  }
  if (!submit({.extent = &e, .run = piece, .write = true, .entry = &entry}, place)) {
    store_.forget(e, pages & e.stored);  // the hashes are of the new contents now
    return false;
  }
  Store::begin_write(entry);
  e.writing |= pages;
  leaving_ += pages.pages();
  return true;
}

// The store takes nothing now: rather over the budget than lost.
void Pager::give_up_eviction(Extent& e) {
  move_home(e, e.aside.minus(e.writing));
  for (unsigned i = e.aside.next(0); i < kPagesPerExtent; i = e.aside.next(i + 1))
    if (!e.writing.test(i)) copy_from_slot(e, i);
  e.skip = 8;
  leave_slot_if_idle(e);
}

void Pager::write_failed(Errno error) {
  budget_.counters().write_errors.fetch_add(1, std::memory_order_relaxed);
  // The budget may be kept for a moment between two refusals: no reason to say it again.
  if (!refusal_said_ns_ || now_ns_ - refusal_said_ns_ > kSayAgainNs) {
    refusal_said_ns_ = now_ns_;
    TextBuffer<200> text;
    text << "the slow tier took no more pages (" << errno_name(error.value)
         << "); the job keeps them in DRAM, over its budget if it must. Free space on the tier or give it another with "
            "--slow";
    budget_.job().post(text.view());
    log_text(LogLevel::kWarning, text.view());
  }
  store_blocked_until_ns_ = now_ns_ + kBlockedNs;
}

bool Pager::eligible(Extent& e) {
  if (e.shared.any() && now_ns_ - e.shared_at_ns >= kWhoSharesNs << e.looks) look_who_shares(e);
  return e.at_rest() && !__atomic_load_n(&e.held, __ATOMIC_SEQ_CST) && (hurry_ || now_ns_ >= e.keep_until_ns) &&
         (!e.armed || e.evictable().any());
}

// The next extent to go: behind a scan while one runs, else the next of the clock that is not known to be in use.
Extent* Pager::pick_victim() {
  if (now_ns_ < store_blocked_until_ns_) return nullptr;
  const bool scan = probation_.size() > eighth_of_budget() || main_.empty();
  if (scan && (++turn_ % main_share_ || main_.empty()))
    if (Extent* e = pick_from_probation()) return e;
  // Where all are warm, the clock goes round some times.
  for (uint64_t n = 4 * main_.size() < kLooks ? 4 * main_.size() : kLooks; n && !main_.empty(); --n) {
    Extent* e = main_.front();
    main_.remove(*e);
    main_.push_back(*e);
    if (!eligible(*e)) continue;
    if (e->skip) {
      --e->skip;
      continue;
    }
    if (!e->armed && !arm_and_look(*e)) continue;
    if (e->resident.none()) {
      dequeue(*e);
      continue;
    }
    if (e->evictable().any()) return e;
  }
  return scan ? nullptr : pick_from_probation();  // all else is locked, or shared with other processes
}

Extent* Pager::pick_from_probation() {
  for (uint64_t n = probation_.size() < kLooks ? probation_.size() : kLooks; n; --n) {
    Extent* e = probation_.front();
    probation_.remove(*e);
    probation_.push_back(*e);
    if (eligible(*e) && (e->armed || arm_and_look(*e)) && e->evictable().any()) return e;
  }
  return nullptr;
}

// Takes an extent back from the kernel and learns which of its pages exist. False when the kernel refuses.
bool Pager::arm_and_look(Extent& e) {
  if (const Errno failed = arm_extent(e)) {
    e.skip = 255;
    log_line(LogLevel::kInfo, "cannot watch ", e.base, ": ", errno_name(failed.value));
    return false;
  }
  const PageSet was = e.resident;
  e.resident = ops_.present(e.base, &e.huge) & e.managed;
  budget_.release(was.minus(e.resident).pages());
  if (!e.store) e.heat = 0;
  return true;
}

// Moves `pages`, which are all that is present in `within`, with few calls where runs would take many: each makes other
// processors forget their translations. What was moved; the rest can be tried page by page.
PageSet Pager::move_at_once(Address to, Address from, const PageSet& pages, const PageSet& within) {
  PageSet tried;
  within.for_each_run([&](PageRun run) {
    const PageSet inside = pages & PageSet::of(run);
    if (inside.none()) return;
    const unsigned first = inside.next(0);
    if (inside.next_run(first).count == inside.count()) return;  // a single run needs no care
    unsigned end = run.end();
    while (!inside.test(end - 1)) --end;
    const uint64_t offset = first * kPageSize;
    (void)ops_.move(to + offset, from + offset, Bytes{(end - first) * kPageSize});
    tried |= inside;
  });
  return tried.any() ? tried.minus(ops_.present(from, nullptr)) : tried;
}

// Out of the program's sight.
void Pager::move_aside(Extent& e, const PageSet& pages, bool urgent) {
  const bool whole = e.huge && pages.full();
  e.slot = slots_.take_empty(whole);
  if (e.slot == kNoSlot) {
    enqueue(e, Queue::kMain);
    return;
  }
  PageSet moved;
  PageSet stuck;
  bool as_one = false;
  // What is not managed must not come along.
  if (pages == e.resident && !whole) moved = move_at_once(slots_.address(e.slot, 0), e.base, pages, e.managed);
  pages.minus(moved).for_each_run([&](PageRun run) {
    unsigned at = run.first;
    bool unshared = false;
    while (at < run.end()) {
      const Progress p = ops_.move(slots_.address(e.slot, at), e.page(at), Bytes{uint64_t{run.end() - at} * kPageSize});
      const unsigned done = static_cast<unsigned>(p.done.count >> kPageShift);
      moved.set(PageRun{at, done});
      as_one = whole && done == kPagesPerExtent;
      at += done;
      if (done) unshared = false;
      if (at >= run.end()) return;
      if (p.error.value == EBUSY && !unshared && ops_.present(e.base, nullptr).test(at)) {
        unprotect(e, PageSet::of({at, 1}));             // of a clean one: we would wait for ourselves to let us write
        ops_.unshare(range_at(e.page(at), kPageSize));  // shared since a fork, or pinned: once more
        unshared = true;
        continue;
      }
      stuck.set(at++);
      unshared = false;
    }
  });
  slots_.entered(e.slot, moved, as_one);
  e.huge = false;
  e.resident.remove(moved);
  e.unchanged |= e.clean & moved;
  e.clean.remove(moved);
  e.aside |= moved;
  e.sample.remove(moved);
  e.urgent = urgent;
  e.touches = 0;
  if (stuck.any()) e.skip = 8;  // pinned, or in a mapping that the kernel will not move from
  if (moved.any()) set_away(e, Away::kLimbo, urgent);
  leave_slot_if_idle(e);
  // A hook that came in between runs on these very pages, and may wait for the lock that we hold.
  if (__atomic_load_n(&e.held, __ATOMIC_SEQ_CST)) settle_extent(e);
}

}  // namespace ebb
