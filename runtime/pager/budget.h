// Budget: this process's share in the job's DRAM budget. Every page that a managed range or a slot holds in DRAM is
// charged before it is made, so that the job never holds more than the budget, however many processes it has.
//
// Charges are written by the holder of the state lock; the sums in the control page are shared by the job's processes
// and updated atomically.
#pragma once

#include "base/units.h"
#include "job/control.h"
#include "pager/fork_count.h"

namespace ebb {

class Budget {
 public:
  void attach(JobControl& job, JobSlot& slot) {
    job_ = &job;
    slot_ = &slot;
  }
  Bytes limit() const { return {job_->budget.load(std::memory_order_relaxed)}; }
  Bytes charged() const { return {job_->charged.load(std::memory_order_relaxed)}; }
  Pages own() const { return {slot_->charged.load(std::memory_order_relaxed) >> kPageShift}; }
  // Pages that can still be charged; negative when over the budget.
  int64_t room() const {
    return (static_cast<int64_t>(limit().count) - static_cast<int64_t>(charged().count)) >> kPageShift;
  }

  // Charges if the job stays within its budget, with `left` of it still free.
  [[nodiscard]] bool try_charge(Pages n, Pages left = {}) {
    const uint64_t bytes = to_bytes(n).count;
    const uint64_t before = job_->charged.fetch_add(bytes, std::memory_order_relaxed);
    if (before + bytes + to_bytes(left).count > limit().count) {
      job_->charged.fetch_sub(bytes, std::memory_order_relaxed);
      return false;
    }
    note(bytes, before + bytes);
    return true;
  }
  // Charges in any case: memory that exists already, or that must be given.
  void charge(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    note(bytes, job_->charged.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  }
  void release(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    job_->charged.fetch_sub(bytes, std::memory_order_relaxed);
    slot_->charged.fetch_sub(bytes, std::memory_order_relaxed);
  }
  void add_managed(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    slot_->managed.fetch_add(bytes, std::memory_order_relaxed);
    raise(job_->peak_managed, job_->managed.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  }
  void remove_managed(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    slot_->managed.fetch_sub(bytes, std::memory_order_relaxed);
    job_->managed.fetch_sub(bytes, std::memory_order_relaxed);
  }
  Bytes managed() const { return {job_->managed.load(std::memory_order_relaxed)}; }
  // Pages whose only copy is in the store now: `after` of this process.
  void set_cold(Pages after) {
    const uint64_t bytes = to_bytes(after).count;
    const uint64_t before = slot_->stored.exchange(bytes, std::memory_order_relaxed);
    const uint64_t stored = job_->stored.fetch_add(bytes - before, std::memory_order_relaxed) + (bytes - before);
    raise(job_->peak_need, stored + charged().count);
  }

  // --- pages that a process shares with those it was forked from or has forked: charged once -----------------------
  // Pages charged here that a child is about to share.
  void lend(Pages n) { slot_->lent.fetch_add(to_bytes(n).count, std::memory_order_relaxed); }
  // Pages that the parent has lent to this process.
  void borrow(Pages n) { slot_->borrowed.fetch_add(to_bytes(n).count, std::memory_order_relaxed); }
  void give_back(Pages n) { slot_->borrowed.fetch_sub(to_bytes(n).count, std::memory_order_relaxed); }
  // Lent pages that nobody else has any more.
  void keep(Pages n) { slot_->lent.fetch_sub(to_bytes(n).count, std::memory_order_relaxed); }
  // Lent pages that this process gives up while others may have them: they stay charged to the job.
  void orphan(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    job_->orphaned.fetch_add(bytes, std::memory_order_relaxed);
    slot_->lent.fetch_sub(bytes, std::memory_order_relaxed);
    slot_->charged.fetch_sub(bytes, std::memory_order_relaxed);
  }
  // Borrowed pages that nobody else has any more: charged here from now on.
  void adopt(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    give_back(n);
    slot_->charged.fetch_add(bytes, std::memory_order_relaxed);
    const uint64_t known = take(job_->orphaned, bytes);
    if (known < bytes) job_->charged.fetch_add(bytes - known, std::memory_order_relaxed);
  }
  // What the job's processes share: charged, and nobody can evict it alone.
  Pages shared_pages() const {
    uint64_t bytes = job_->orphaned.load(std::memory_order_relaxed);
    for (const JobSlot& slot : job_->slot) bytes += slot.lent.load(std::memory_order_relaxed);
    return {bytes >> kPageShift};
  }
  Pages lent() const { return {slot_->lent.load(std::memory_order_relaxed) >> kPageShift}; }
  // For end_fork(), by the child once it has said what it borrows.
  uint64_t begin_fork(uint64_t now_ns) { return ForkCount(job_->forks).begin(now_ns); }
  void end_fork(uint64_t begun) { ForkCount(job_->forks).end(begun); }
  bool has_orphans() const { return job_->orphaned.load(std::memory_order_relaxed) != 0; }
  // Releases what cannot be borrowed by anyone any more. Not while a child is being made: it has not said yet what it
  // borrows.
  void settle_orphans(uint64_t now_ns) {
    if (!job_->orphaned.load()) return;
    const ForkCount forks(job_->forks);
    const auto before = forks.words();
    if (ForkCount::some_unsaid(before, now_ns)) return;
    uint64_t borrowed = 0;
    for (const JobSlot& slot : job_->slot) borrowed += slot.borrowed.load();
    if (forks.words() != before) return;  // the sum may lack what a child has said meanwhile
    const uint64_t orphaned = job_->orphaned.load();
    if (orphaned > borrowed) job_->charged.fetch_sub(take(job_->orphaned, orphaned - borrowed));
  }

  // Asks the job's other processes for room. While this is not too long ago they make it, and leave it.
  void press(Pages wanted, uint64_t now_ns) {
    job_->pressure.store(to_bytes(wanted).count, std::memory_order_relaxed);
    job_->presser.store(own_number(), std::memory_order_relaxed);
    job_->pressed_ns.store(now_ns, std::memory_order_relaxed);
  }
  // What another process asked for.
  Pages pressure(uint64_t now_ns) const {
    constexpr uint64_t kAskedNs = 100'000'000;
    const uint64_t asked = job_->pressed_ns.load(std::memory_order_relaxed);
    if (!asked || now_ns - asked > kAskedNs) return {};
    if (job_->presser.load(std::memory_order_relaxed) == own_number()) return {};
    return {job_->pressure.load(std::memory_order_relaxed) >> kPageShift};
  }

  // Whether other processes of the job hold memory, too.
  bool shared() const { return managed() > Bytes{slot_->managed.load(std::memory_order_relaxed)}; }

  bool cleans_ahead() const { return job_->clean_ahead.load(std::memory_order_relaxed) != 0; }

  JobControl& job() { return *job_; }
  JobCounters& counters() { return job_->counters; }

  static void raise(Counter& peak, uint64_t value) {
    uint64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }

 private:
  // Takes up to `bytes` off `sum`. How much it was.
  static uint64_t take(Counter& sum, uint64_t bytes) {
    uint64_t seen = sum.load();
    while (!sum.compare_exchange_weak(seen, seen - (seen < bytes ? seen : bytes))) {
    }
    return seen < bytes ? seen : bytes;
  }
  uint64_t own_number() const { return static_cast<uint64_t>(slot_ - job_->slot); }
  void note(uint64_t bytes, uint64_t total) {
    slot_->charged.fetch_add(bytes, std::memory_order_relaxed);
    raise(job_->peak_charged, total);
    raise(job_->peak_need, total + job_->stored.load(std::memory_order_relaxed));
  }

  JobControl* job_ = nullptr;
  JobSlot* slot_ = nullptr;
};

}  // namespace ebb
