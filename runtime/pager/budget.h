// Budget: this process's share in the job's DRAM budget. Every page that a managed range or a slot holds in DRAM is
// charged before it is made, so that the job never holds more than the budget, however many processes it has.
//
// Charges are written by the holder of the state lock; the sums in the control page are shared by the job's processes
// and updated atomically.
#pragma once

#include "base/units.h"
#include "job/control.h"

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

  // Charges if the job stays within its budget.
  [[nodiscard]] bool try_charge(Pages n) {
    const uint64_t bytes = to_bytes(n).count;
    const uint64_t before = job_->charged.fetch_add(bytes, std::memory_order_relaxed);
    if (before + bytes > limit().count) {
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

  // Whether other processes of the job hold memory, too.
  bool shared() const { return managed() > Bytes{slot_->managed.load(std::memory_order_relaxed)}; }

  JobControl& job() { return *job_; }
  JobCounters& counters() { return job_->counters; }

  static void raise(Counter& peak, uint64_t value) {
    uint64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }

 private:
  void note(uint64_t bytes, uint64_t total) {
    slot_->charged.fetch_add(bytes, std::memory_order_relaxed);
    raise(job_->peak_charged, total);
    raise(job_->peak_need, total + job_->stored.load(std::memory_order_relaxed));
  }

  JobControl* job_ = nullptr;
  JobSlot* slot_ = nullptr;
};

}  // namespace ebb
