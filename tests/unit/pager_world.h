// PagerWorld: a whole pager (table, store, budget, slots) on the fake kernel, for tests of runtime/pager. Plays the
// program and the hooks of the engine, and checks after every step that what the pager believes is what there is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fake_kernel.h"
#include "pager/pager.h"

namespace ebb {

enum class Tier { kDisk, kMemory, kCalls };  // kCalls: memory that is read and written by calls

inline Address page(AddressRange range, uint64_t i) { return range.begin + i * kPageSize; }

class PagerWorld {
 public:
  struct Options {
    Tier tier = Tier::kDisk;
    Pages budget{2048};
    unsigned slots = 16;
  };
  using Touch = FakePages::Touch;

  explicit PagerWorld(Options options);
  PagerWorld() : PagerWorld(Options{}) {}

  // --- the program --------------------------------------------------------------------------------------------------
  // Maps and manages as many pages; `lead` pages into an extent.
  AddressRange add(Pages pages, unsigned lead = 0);
  // Touches until the access takes place (kDone) or cannot (kSegv, kBus). A thread that waits for ever is a failure.
  Touch touch(Address page, bool write, uint32_t thread = 1);
  // Fills the page with contents that `value` stands for; 0 for zeros.
  void write(Address page, uint64_t value);
  // Reads the page and compares it.
  void expect(Address page, uint64_t value);
  // Every page of `range` in order, with first, first + 1, ... as its contents (0 stays 0).
  void write_all(AddressRange range, uint64_t first);
  void expect_all(AddressRange range, uint64_t first);
  static void fill(char* page, uint64_t value);
  static bool holds(const char* page, uint64_t value);

  // --- the engine's hooks, as runtime/job has them ------------------------------------------------------------------
  void settle(AddressRange range);
  void forget(AddressRange range);
  void unmap(AddressRange range);
  void protect(AddressRange range, FakePages::Access access);
  void lock(AddressRange range, bool on_fault);
  void unlock(AddressRange range);
  AddressRange remap(AddressRange range);
  // Management ends, contents stay.
  void let_go(AddressRange range);
  // Nothing under way and nothing out of sight; with `shrinking`, as before a fork.
  void drain(bool shrinking = false);
  // As a snapshot: `clean` ahead or not, everything written, sealed and mapped from the files; then, the other way.
  Errno seal(bool clean = true);
  void take_back();
  // What fork does to the child: a sealed store, a share of its own, no registration, all pages shared with the parent.
  void become_child();

  // --- time ---------------------------------------------------------------------------------------------------------
  void step(uint64_t ns = 20'000);
  // Steps until the pager wants to sleep with nothing under way; at most `most` of them.
  void quiet(unsigned most = 2000);
  // Makes pages leave until only `left` are charged (or nothing more goes), then restores the budget.
  void squeeze(Pages left = {700});

  // --- what there is ------------------------------------------------------------------------------------------------
  Extent& extent(Address a);
  unsigned index(Address a) const { return a.page_in_extent(); }
  JobCounters& counters() { return control->counters; }
  uint64_t charged() const { return control->charged.load() >> kPageShift; }
  Address slot(const Extent& e) const { return slots.begin + (uint64_t{e.slot} << kExtentShift); }
  void check();
  void check_extent(Extent& e);

  FakeKernel k;
  Arena arena;
  ExtentTable table{arena};
  Store store{arena, k.files};
  std::unique_ptr<JobControl> control = std::make_unique<JobControl>();
  Budget budget;
  Pager pager{arena, table, store, budget, k.pages, k.clock};
  AddressRange slots;
  std::vector<AddressRange> ranges;                    // managed
  char* buffer = arena.make_array<char>(kExtentSize);  // of the snapshots
  bool checking = true;
  uint64_t most_over = 0;  // over_budget_bytes, which check() takes away
  // Charges beyond the budget that nobody counted are failures; off where the budget is lowered on the way.
  bool strict = true;
  bool exact = false;  // also those that the pager is known not to count

 private:
  IoQueue* io() { return tier_ == Tier::kDisk ? &k.io : nullptr; }
  void cut(AddressRange range);
  // Nothing of `range` is out of sight.
  void expect_home(AddressRange range);

  Tier tier_;
  unsigned child_ = 0;
  uint64_t charged_before_ = 0, counted_over_ = 0;
};

}  // namespace ebb
