// A random program on the pager, against a plain model of what each page must hold: several threads that read and
// write, hooks in between, devices that fail, steps of the pager in any order. PagerWorld checks the invariants after
// each step. EBB_SEED=N repeats a run, EBB_STEPS=N makes it longer.
#include <gtest/gtest.h>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <random>

#include "pager_world.h"

namespace ebb {
namespace {

using Touch = FakePages::Touch;
using Access = FakePages::Access;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

class Model {
 public:
  Model(Tier tier, uint64_t seed, bool failing) : w({.tier = tier}), random_(seed), failing_(failing) {
    w.k.io.order = FakeIo::Order::kRandom;
    w.k.io.set_seed(static_cast<unsigned>(seed));
    set_scripts();
    for (int i = 0; i < 4; ++i) add();
  }

  void step() {
    const unsigned what = pick(1000);
    if (what < 640) return run_thread();
    if (what < 970) return w.step(pick(100) ? pick(50'000) : pick(300'000'000));
    if (what < 980) return hook();
    if (what < 985) return outside();
    if (what < 990) return switch_errors();
    if (what == 990 && !pick(4)) return drain();
    if (what == 991) return w.step(2'000'000'000);
    if (what < 994) return change_budget();
    if (what < 998) return clean();
    if (what == 998 && !pick(4)) return snapshot();
    if (what == 999) return merge();
  }

  // Everything works again: whatever the program wrote is there.
  void finish() {
    errors_ = 0;
    set_scripts();
    release_pins();
    w.control->budget.store(to_bytes({2048}).count);
    for (const AddressRange& r : w.ranges) w.protect(r, Access::kReadWrite);
    for (const AddressRange& r : w.ranges) w.unlock(r);
    for (Thread& t : threads_)
      for (int n = 0; t.waits && n < 100'000 && !testing::Test::HasFailure(); ++n) {
        w.step();
        go_on(t);
      }
    for (const AddressRange& r : w.ranges)
      for (Address a = r.begin; a < r.end && !testing::Test::HasFailure(); a = a + kPageSize) {
        const Touch t = w.touch(a, false, 99);
        if (lost(t, a)) continue;
        ASSERT_EQ(t, Touch::kDone);
        ASSERT_TRUE(PagerWorld::holds(w.k.pages.contents(a), contents_[a.value])) << name(a);
      }
    w.drain();
  }

  PagerWorld w;

 private:
  struct Thread {
    Address page;
    bool write = false, waits = false;
    uint64_t value = 0, steps = 0, since = 0;
    int walk = 0;  // pages a step
  };

  unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
  std::string name(Address a) const {
    for (size_t r = 0; r < w.ranges.size(); ++r)
      if (w.ranges[r].contains(a))
        return "page " + std::to_string((a - w.ranges[r].begin) / kPageSize) + " of range " + std::to_string(r);
    return "a page that is gone";
  }
  Address any_page() {
    const AddressRange r = w.ranges[pick(static_cast<unsigned>(w.ranges.size()))];
    // Half of the touches are in a small part, as in most programs.
    const unsigned n = static_cast<unsigned>(r.pages().count);
    return r.begin + uint64_t{pick(2) ? pick(n) : pick(n < 64 ? n : 64)} * kPageSize;
  }
  AddressRange any_part() {
    const AddressRange r = w.ranges[pick(static_cast<unsigned>(w.ranges.size()))];
    const unsigned n = static_cast<unsigned>(r.pages().count);
    if (!pick(4)) return r;
    const unsigned first = pick(n), most = n - first;
    const unsigned count = 1 + pick(pick(3) ? (most < 40 ? most : 40) : most);
    return range_at(r.begin + uint64_t{first} * kPageSize, uint64_t{count} * kPageSize);
  }

  void run_thread() {
    const unsigned number = pick(kThreads);
    Thread& t = threads_[number];
    if (t.waits) return go_on(t);
    if (t.walk && pick(200)) {
      t.page = t.page + static_cast<uint64_t>(int64_t{t.walk} * int64_t{kPageSize});
    } else {
      t.walk = pick(4) ? 0 : pick(3) ? 1 : -1;
      t.page = any_page();
    }
    t.write = pick(3) != 0;
    t.value = pick(20) ? ++last_value_ : 0;
    t.steps = 0;
    t.since = w.k.clock.now_ns();
    go_on(t);
  }

  void go_on(Thread& t) {
    const uint32_t number = static_cast<uint32_t>(&t - threads_) + 1;
    const Touch touch = w.k.pages.touch(t.page, t.write, number);
    t.waits = touch == Touch::kFault || touch == Touch::kWaiting;
    if (t.waits) {
      ASSERT_FALSE(++t.steps > 3000 && w.k.clock.now_ns() - t.since > 30'000'000'000)
          << "waits for ever for " << name(t.page);
      return;
    }
    if (touch == Touch::kSegv || lost(touch, t.page)) {
      ASSERT_TRUE(touch != Touch::kSegv || t.walk || fenced(t.page) || name(t.page)[0] == 'a') << name(t.page);
      t.walk = 0;
      return;
    }
    char* page = w.k.pages.contents(t.page);
    if (t.write) {
      PagerWorld::fill(page, t.value);
      contents_[t.page.value] = t.value;
    } else {
      ASSERT_TRUE(PagerWorld::holds(page, contents_[t.page.value])) << "wrong bytes in " << name(t.page);
    }
  }

  bool fenced(Address a) {
    const Extent* e = w.table.find(a);
    return e && e->fenced.test(a.page_in_extent());
  }
  // A lost page is said to be lost, and only a device that failed may lose one.
  bool lost(Touch t, Address a) {
    if (t != Touch::kBus) return false;
    EXPECT_TRUE(failing_ && w.k.pages.is_poisoned(a)) << name(a);
    EXPECT_GT(w.counters().bad_pages.load(), 0u);
    return true;
  }

  void add() {
    const unsigned pages = pick(3) ? 1 + pick(1400) : kPagesPerExtent * (1 + pick(3));
    w.add({pages}, pick(3) ? 0 : pick(500));
  }
  void zero(AddressRange r) {
    for (Address a = r.begin; a < r.end; a = a + kPageSize) contents_.erase(a.value);
  }

  void hook() {
    const AddressRange r = any_part();
    switch (pick(8)) {
      case 0:
      case 1:
        // Without access madvise() is allowed all the same; locked memory it refuses.
        if (locked(r)) return;
        w.forget(r);
        return zero(r);
      case 2:
        if (pick(3) || moves_ > 60) return;
        ++moves_;
        w.unmap(r);
        zero(r);
        return add();
      case 3:
        return w.protect(r, pick(2) ? Access::kRead : Access::kNone);
      case 4:
        for (const AddressRange& range : w.ranges) w.protect(range, Access::kReadWrite);
        return;
      case 5:
        // Never as much as the budget: see pager_bugs_test.cc.
        if (r.pages() > Pages{200} || locked_pages() > 300 || errors_) return;
        return w.lock(r, pick(2));
      case 6:
        for (const AddressRange& range : w.ranges) w.unlock(range);
        return;
      case 7:
        return move();
    }
  }
  unsigned locked_pages() {
    unsigned n = 0;
    w.table.for_all([&](Extent& e) { n += e.pinned.count(); });
    return n;
  }
  bool locked(AddressRange r) {
    bool any = false;
    w.table.for_each(r, [&](Extent& e) {
      for (unsigned i = 0; i < kPagesPerExtent; ++i) any |= e.pinned.test(i) && r.contains(e.page(i));
    });
    return any;
  }
  // A whole range that shares no extent with others.
  void move() {
    if (++moves_ > 80) return;
    const AddressRange r = w.ranges[pick(static_cast<unsigned>(w.ranges.size()))];
    const AddressRange around = {r.begin.extent(), Address{align_up(r.end.value, kExtentSize)}};
    for (const AddressRange& other : w.ranges)
      if (other != r && other.overlaps(around)) return;
    std::map<uint64_t, uint64_t> moved;
    const AddressRange to = w.remap(r);
    for (Address a = r.begin; a < r.end; a = a + kPageSize)
      if (const auto it = contents_.find(a.value); it != contents_.end())
        moved[to.begin.value + (a - r.begin)] = it->second;
    zero(r);
    contents_.insert(moved.begin(), moved.end());
  }

  // Others in the system: pins of pages, children that share them.
  void outside() {
    if (!pick(3)) return release_pins();
    const AddressRange r = any_part();
    if (pick(2)) {
      const Address a = any_page();
      if (w.k.pages.is_present(a)) w.k.pages.pin(a, true);
    } else {
      w.k.pages.share(r);
    }
  }
  void release_pins() {
    for (const AddressRange& r : w.ranges)
      for (Address a = r.begin; a < r.end; a = a + kPageSize) w.k.pages.pin(a, false);
  }

  void drain() {
    w.drain();
    if (pick(2)) w.store.seal();
  }

  // A few extents are written ahead.
  void clean() {
    for (unsigned n = 1 + pick(4); n; --n)
      if (w.pager.clean_ahead(walk_, w.buffer)) {
        walk_ = {};
        walk_.calm_only = pick(2);
      }
    w.check();
  }
  // What an old layer has left moves to the newest one.
  void merge() {
    for (unsigned n = 1 + pick(6); n; --n)
      if (w.pager.merge_step(merge_walk_, w.buffer)) merge_walk_ = {};
    if (!pick(10)) w.store.keep_no_layer();
    Address next{};
    if (!pick(20))
      while (!w.pager.gather_step(next, pick(8), w.buffer)) {
      }
    w.check();
  }
  // The process is frozen, and goes on or is restored. Threads that wait do so in system calls.
  void snapshot() {
    if (errors_ || ++snapshots_ > 40) return;
    const Errno refused = w.seal(pick(2));
    walk_ = {};
    merge_walk_ = {};
    if (!refused) return w.take_back();
    const bool lost = w.k.pages.poisoned() != 0;
    ASSERT_TRUE(refused.value == EIO && lost) << "refused with " << refused.value;
  }

  void switch_errors() {
    errors_ = failing_ && pick(3) ? 1 + pick(15) : 0;
    set_scripts();
    if (failing_ && !pick(4)) corrupt();
    w.k.io.set_depth(pick(2) ? 128 : 1 + pick(8));
  }
  // The device returns something else than what was written.
  void corrupt() {
    const Address a = any_page();
    Extent* e = w.table.find(a);
    const unsigned i = a.page_in_extent();
    if (!e || !e->cold().test(i)) return;
    const SlotPlace place = w.store.place(*e, i);
    w.k.files.corrupt(place.fd, place.offset + pick(kPageSize));
  }
  void set_scripts() {
    const unsigned e = errors_;
    w.k.files.set_capacity(Bytes{e & 8 ? w.k.files.used().count : uint64_t{1} << 36});
    w.k.files.script = [e](FakeFiles::Op, int, uint64_t) { return e & 4 ? Errno{EIO} : Errno{}; };
    w.k.io.script = [this, e](const IoRequest& r) {
      if (r.write && (e & 1) && !pick(3)) return pick(2) ? -EIO : static_cast<int>(kPageSize / 2);
      if (!r.write && (e & 2) && !pick(e & 1 ? 3 : 20)) return pick(2) ? -EIO : static_cast<int>(kPageSize / 2);
      return 0;
    };
    w.k.pages.script = [this, e](FakePages::Op op, Address) {
      const bool refuse = (e & 4) && op == FakePages::Op::kPopulate && !pick(2);
      return refuse ? Errno{ENOMEM} : Errno{};
    };
  }

  void change_budget() {
    const Pages budget{pick(2) ? 2048 : 1024 + pick(3000)};
    w.control->clean_ahead.store(pick(2));
    w.k.files.cached = pick(2);
    // A lowered budget is reached in time; what comes in meanwhile is not over it by a fault of the pager.
    w.strict = w.charged() <= budget.count;
    w.control->budget.store(to_bytes(budget).count);
  }

  static constexpr unsigned kThreads = 8;
  std::mt19937_64 random_;
  bool failing_;
  Thread threads_[kThreads];
  std::map<uint64_t, uint64_t> contents_;
  uint64_t last_value_ = 0;
  unsigned errors_ = 0, moves_ = 0, snapshots_ = 0;
  Pager::CleanWalk walk_{};
  Pager::MergeWalk merge_walk_{};
};

struct Kind {
  const char* name;
  Tier tier;
  bool failing;
};

class PagerModelTest : public testing::TestWithParam<Kind> {};

INSTANTIATE_TEST_SUITE_P(Kinds, PagerModelTest,
                         testing::Values(Kind{"disk", Tier::kDisk, false}, Kind{"memory", Tier::kMemory, false},
                                         Kind{"calls", Tier::kCalls, false}, Kind{"failing_disk", Tier::kDisk, true},
                                         Kind{"failing_memory", Tier::kMemory, true}),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(PagerModelTest, EveryPageHoldsWhatWasWrittenToIt) {
  const uint64_t seed = from_environment("EBB_SEED", std::random_device{}());
  const uint64_t steps = from_environment("EBB_STEPS", 50'000);
  SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
  Model model(GetParam().tier, seed, GetParam().failing);
  for (uint64_t n = 0; n < steps && !HasFailure(); ++n) {
    SCOPED_TRACE("step " + std::to_string(n));
    model.step();
  }
  if (!HasFailure()) model.finish();
  // It was about paging, and not about a program that fits.
  JobCounters& counters = model.w.counters();
  EXPECT_GT(counters.written_bytes.load(), 0u);
  EXPECT_GT(counters.loaded_bytes.load(), 0u);
  EXPECT_GT(counters.returned_bytes.load(), 0u);
}

}  // namespace
}  // namespace ebb
