// PagerWorld: see pager_world.h.
#include "pager_world.h"

#include <gtest/gtest.h>
#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace ebb {

PagerWorld::PagerWorld(Options options) : tier_(options.tier) {
  set_log_level(LogLevel::kError);
  control->budget.store(to_bytes(options.budget).count);
  budget.attach(*control, control->slot[0]);
  k.pages.file_contents = [this](int fd, uint64_t offset) { return k.files.stored(fd, offset); };
  k.files.byte_addressable = tier_ == Tier::kMemory;
  k.pages.limbo_fills = tier_ != Tier::kDisk;
  store.set_byte_addressable(tier_ != Tier::kDisk);
  store.set_seed(0x1234567890abcdef);
  slots = k.pages.map(Bytes{uint64_t{options.slots} << kExtentShift});
  EXPECT_TRUE(k.pages.arm_limbo(slots).ok());
  EXPECT_TRUE(pager.open(slots, io()).ok());
}

AddressRange PagerWorld::add(Pages pages, unsigned lead) {
  const AddressRange all = k.pages.map(Bytes{to_bytes(pages).count + lead * kPageSize});
  const AddressRange range = {all.begin + lead * kPageSize, all.end};
  if (lead) k.pages.unmap({all.begin, range.begin});
  EXPECT_TRUE(pager.add(range, false));
  ranges.push_back(range);
  return range;
}

PagerWorld::Touch PagerWorld::touch(Address page, bool write, uint32_t thread) {
  for (int tries = 0; tries < 100'000; ++tries) {
    const Touch t = k.pages.touch(page, write, thread);
    if (t != Touch::kFault && t != Touch::kWaiting) return t;
    step();
  }
  ADD_FAILURE() << "a thread waits for page " << (page - ranges.front().begin) / kPageSize << " for ever";
  return Touch::kWaiting;
}

void PagerWorld::fill(char* page, uint64_t value) {
  if (!value) {
    std::memset(page, 0, kPageSize);
    return;
  }
  for (uint64_t i = 0; i < kPageSize; i += 8) {
    const uint64_t word = (value + i) * 0x9E3779B97F4A7C15ull;
    std::memcpy(page + i, &word, 8);
  }
}

bool PagerWorld::holds(const char* page, uint64_t value) {
  char wanted[kPageSize];
  fill(wanted, value);
  return std::memcmp(page, wanted, kPageSize) == 0;
}

void PagerWorld::write(Address page, uint64_t value) {
  ASSERT_EQ(touch(page, true), Touch::kDone);
  fill(k.pages.contents(page), value);
}

void PagerWorld::expect(Address page, uint64_t value) {
  ASSERT_EQ(touch(page, false), Touch::kDone);
  ASSERT_TRUE(holds(k.pages.contents(page), value))
      << "page " << (page - ranges.front().begin) / kPageSize << " is wrong";
}

void PagerWorld::write_all(AddressRange range, uint64_t first) {
  for (Address a = range.begin; a < range.end && !testing::Test::HasFatalFailure(); a = a + kPageSize) {
    write(a, first);
    if (first) ++first;
  }
}

void PagerWorld::expect_all(AddressRange range, uint64_t first) {
  for (Address a = range.begin; a < range.end && !testing::Test::HasFatalFailure(); a = a + kPageSize) {
    expect(a, first);
    if (first) ++first;
  }
}

void PagerWorld::settle(AddressRange range) {
  if (pager.settled(range)) return;
  pager.freeze(range);
  for (int tries = 0; !pager.settled(range); ++tries) {
    ASSERT_LT(tries, 10'000) << "a hook waits for ever";
    step();
  }
  pager.thaw(range);
}

void PagerWorld::forget(AddressRange range) {
  settle(range);
  k.pages.discard(range);
  pager.forget(range);
  check();
}

void PagerWorld::cut(AddressRange range) {
  std::vector<AddressRange> left;
  for (const AddressRange& r : ranges) {
    if (!r.overlaps(range)) {
      left.push_back(r);
      continue;
    }
    if (r.begin < range.begin) left.push_back({r.begin, range.begin});
    if (range.end < r.end) left.push_back({range.end, r.end});
  }
  ranges = left;
}

void PagerWorld::unmap(AddressRange range) {
  settle(range);
  k.pages.unmap(range);
  pager.remove(range, false);
  cut(range);
  check();
}

void PagerWorld::expect_home(AddressRange range) {
  table.for_each(range, [&](Extent& e) {
    for (unsigned i = e.aside.next(0); i < kPagesPerExtent; i = e.aside.next(i + 1))
      EXPECT_FALSE(range.contains(e.page(i))) << "still out of sight";
  });
}

void PagerWorld::protect(AddressRange range, FakePages::Access access) {
  if (access == FakePages::Access::kReadWrite) {
    k.pages.set_access(range, access);
    pager.fence(range, false);
  } else {
    settle(range);
    pager.fence(range, true);
    expect_home(range);
    k.pages.set_access(range, access);
  }
  check();
}

void PagerWorld::lock(AddressRange range, bool on_fault) {
  settle(range);
  pager.pin(range, true);
  expect_home(range);
  for (int tries = 0; !on_fault && pager.any_cold(range); ++tries) {
    ASSERT_LT(tries, 50'000) << "mlock waits for ever";
    pager.want(range);
    step();
    settle(range);
    pager.settle_home(range);
  }
  k.pages.set_locked(range, true);
  check();
}

void PagerWorld::unlock(AddressRange range) {
  k.pages.set_locked(range, false);
  pager.pin(range, false);
  check();
}

// Whole extents only: what shares an extent with other memory is brought in by the engine first.
AddressRange PagerWorld::remap(AddressRange range) {
  settle(range);
  pager.settle_home(range);
  const AddressRange to = k.pages.remap(range);
  EXPECT_TRUE(pager.rekey(range, to.begin));
  cut(range);
  ranges.push_back(to);
  check();
  return to;
}

void PagerWorld::let_go(AddressRange range) {
  settle(range);
  pager.pin(range, true);
  for (int tries = 0; pager.any_cold(range); ++tries) {
    ASSERT_LT(tries, 50'000) << "waits for ever";
    pager.want(range);
    step();
    settle(range);
    pager.settle_home(range);
  }
  pager.remove(range, true);
  cut(range);
  check();
}

void PagerWorld::drain(bool shrinking) {
  pager.set_draining(true);
  for (int tries = 0; tries == 0 || !pager.drained(); ++tries) {
    ASSERT_LT(tries, 10'000) << "a fork waits for ever";
    if (shrinking) {
      pager.shrink_for_fork();
      pager.set_draining(true);
    }
    step();
  }
  pager.set_draining(false);
}

Errno PagerWorld::seal(bool clean) {
  Pager::CleanWalk walk;
  while (clean && !pager.clean_ahead(walk, buffer)) {
    step();
    check();
  }
  if (walk.error) return walk.error;
  unsigned tries = 0;
  do {
    while (pager.want_kept()) step();
    drain();
  } while (pager.want_kept() && ++tries < 8);
  if (const Errno failed = pager.store_all(buffer)) return failed;
  store.trim_unused();
  store.seal();
  if (const Errno failed = store.name_files("heap")) return failed;
  store.close_files();
  Errno failed = store.open_files("heap", true);
  if (!failed) failed = pager.map_store();
  store.close_files();
  pager.disarm_rest();
  k.pages.unmap(slots);
  return failed;
}

void PagerWorld::take_back() {
  ASSERT_FALSE(store.open_files("heap", false));
  slots = k.pages.map(Bytes{slots.size()});
  EXPECT_TRUE(k.pages.arm_limbo(slots).ok());
  EXPECT_TRUE(pager.open(slots, io()).ok());
  EXPECT_FALSE(pager.take_back(buffer));
  check();
}

void PagerWorld::become_child() {
  drain(true);
  store.seal();
  const uint64_t begun = budget.begin_fork(k.clock.now_ns());
  pager.share();
  const Bytes held{control->slot[child_].charged.load()};
  // The parent lives on elsewhere, and holds what it has lent.
  budget.release(pages_covering(held) - budget.lent());
  budget.remove_managed(pages_covering(Bytes{control->slot[child_].managed.load()}));
  control->stored.fetch_sub(control->slot[child_].stored.load());
  for (const AddressRange& r : ranges) {
    EXPECT_TRUE(k.pages.disarm(r).ok());
    k.pages.share(r);
  }
  k.pages.unmap(slots);
  slots = k.pages.map(Bytes{slots.size()});
  budget.attach(*control, control->slot[++child_]);
  pager.recount();
  budget.end_fork(begun);
  EXPECT_TRUE(k.pages.arm_limbo(slots).ok());
  EXPECT_TRUE(pager.open(slots, io()).ok());
  EXPECT_FALSE(pager.rearm(kAllAddresses));
  pager.protect_shared();
  check();
}

void PagerWorld::step(uint64_t ns) {
  k.clock.advance(ns);
  pager.step();
  check();
}

void PagerWorld::quiet(unsigned most) {
  for (unsigned n = 0; n < most; ++n) {
    step();
    // What it means to look at again soon is not quiet yet.
    const uint64_t idle = pager.idle_ns();
    if (idle >= 10'000'000 && !k.io.in_flight()) return;
    if (idle && !k.io.in_flight()) k.clock.advance(idle);
  }
}

void PagerWorld::squeeze(Pages left) {
  const bool was = strict;
  const uint64_t before = control->budget.exchange(to_bytes(left).count);
  strict = false;
  quiet();
  control->budget.store(before);
  strict = was;
}

Extent& PagerWorld::extent(Address a) {
  Extent* e = table.find(a);
  EXPECT_NE(e, nullptr);
  if (!e) std::abort();
  return *e;
}

void PagerWorld::check_extent(Extent& e) {
  const PageSet& m = e.managed;
  const auto at = [&] { return testing::Message() << "extent " << e.base.value; };
  EXPECT_FALSE(e.resident.intersects(e.aside)) << at();
  EXPECT_FALSE(e.resident.intersects(e.loading)) << at();
  EXPECT_FALSE(e.aside.intersects(e.loading)) << at();
  EXPECT_TRUE((e.resident | e.aside | e.loading | e.stored | e.fenced | e.pinned).minus(m).none()) << at();
  EXPECT_TRUE(e.wanted.minus(e.loading | e.writing).none()) << at();
  EXPECT_TRUE(e.pristine.minus(e.aside).none()) << at();
  EXPECT_TRUE(e.unchanged.minus(e.aside).none()) << at();
  EXPECT_TRUE(e.shared.minus(e.resident).none()) << at();
  EXPECT_TRUE(e.borrowed.minus(e.shared).none()) << at();
  EXPECT_TRUE(e.clean.minus(e.resident).none()) << at();
  const PageSet zero = e.clean.minus(e.stored);
  for (unsigned i = zero.next(0); i < kPagesPerExtent; i = zero.next(i + 1))
    EXPECT_TRUE(is_zero_page(k.pages.contents(e.page(i)))) << at() << ": clean, but nowhere stored";
  // A page that was taken back by a copy while its write is under way is resident.
  EXPECT_TRUE(e.writing.minus(e.aside | e.resident).none()) << at();
  PageSet valid;
  for (const StoreEntry* s = e.store; s; s = s->below) {
    EXPECT_FALSE(valid.intersects(s->valid)) << at() << ": a page in two layers";
    valid |= s->valid;
  }
  EXPECT_TRUE(valid == e.stored) << at();
  if (!e.armed) {
    EXPECT_TRUE(e.resident == m) << at();
    return;
  }
  for (unsigned i = m.next(0); i < kPagesPerExtent; i = m.next(i + 1))
    EXPECT_EQ(k.pages.is_write_protected(e.page(i)), e.clean.test(i) || e.shared.test(i)) << at() << " page " << i;
  EXPECT_TRUE((k.pages.present(e.base, nullptr) & m) == e.resident) << at() << ": what is resident";
  const PageSet out = e.aside | e.writing;
  if (out.any()) {
    EXPECT_NE(e.slot, kNoSlot) << at();
    EXPECT_TRUE(e.slot == kNoSlot || out.minus(k.pages.present(slot(e), nullptr)).none())
        << at() << ": lost in its slot";
  }
  bool whole = false;
  if (e.slot != kNoSlot && !e.frozen) {
    const PageSet idle = k.pages.present(slot(e), &whole).minus(e.aside).minus(e.writing).minus(e.loading);
    EXPECT_TRUE(whole || idle.count() < kPagesPerExtent / 4) << at() << ": " << idle.count() << " pages hoarded";
  }
  // Whatever is in DRAM is in some queue, or evicted never.
  const bool seen = e.queue != Queue::kNone || e.away != Away::kNone || e.transfers;
  EXPECT_TRUE(seen || e.resident.none()) << at() << ": forgotten by the clock";
  EXPECT_TRUE(e.aside.minus(e.writing).none() || e.away != Away::kNone) << at() << ": forgotten out of sight";
  EXPECT_EQ(e.transfers == 0, e.loading.none() && e.writing.none()) << at();
}

void PagerWorld::check() {
  if (!checking) return;
  uint64_t managed = 0, cold = 0, unarmed = 0, borrowed = 0, lent = 0;
  uint64_t records = 0;
  uint64_t of_use = 0;  // pages of slots
  Address last{};
  for (const AddressRange& r : ranges) {
    table.for_each(r, [&](Extent& e) {
      if (e.base == last) return;
      last = e.base;
      ++records;
      check_extent(e);
      managed += e.managed.count();
      cold += e.cold().count();
      of_use += (e.aside | e.loading).count();
      borrowed += e.borrowed.count();
      lent += e.shared.minus(e.borrowed).count();
      if (!e.armed) unarmed += e.managed.minus(k.pages.present(e.base, nullptr)).count();
    });
  }
  EXPECT_EQ(table.size(), records) << "a record is left";
  const uint64_t in_slots = k.pages.resident(slots).count;
  uint64_t here = in_slots;
  for (const AddressRange& r : ranges) here += k.pages.resident(r).count;
  uint64_t alone = 0;  // charged, and read into the pager's own buffers
  for (const IoRequest& r : k.io.flying()) alone += !k.pages.is_simulated(address_of(r.buffer));
  const JobSlot& share = control->slot[child_];
  EXPECT_EQ(share.charged.load() >> kPageShift, here - borrowed + unarmed + k.pages.poisoned() + alone)
      << "charged and really there";
  EXPECT_EQ(share.borrowed.load() >> kPageShift, borrowed);
  EXPECT_EQ(share.lent.load() >> kPageShift, lent);
  EXPECT_EQ(share.managed.load() >> kPageShift, managed);
  EXPECT_EQ(share.stored.load() >> kPageShift, cold) << "in the store only";
  // What the pager says that it had to keep over the budget, now or since it last was within it.
  const uint64_t over = counters().over_budget_bytes.exchange(0);
  most_over = std::max(most_over, over);
  counted_over_ = Bytes{control->charged.load()} > budget.limit() ? std::max(counted_over_, over) : 0;
  // A page that is copied home counts twice until its slot is given back, and a lost one counts: see
  // pager_bugs_test.cc.
  const uint64_t uncounted = to_bytes({exact ? 0 : k.pages.poisoned() + in_slots - std::min(of_use, in_slots)}).count;
  const uint64_t now = control->charged.load();
  if (charged() > charged_before_ && strict && now > budget.limit().count + uncounted) {
    EXPECT_GE(counted_over_, now - budget.limit().count - uncounted) << "over the budget";
  }
  charged_before_ = charged();
}

}  // namespace ebb
