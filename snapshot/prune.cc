// Which snapshots a policy removes: see prune.h.
#include "snapshot/prune.h"

#include <fmt/format.h>
#include <algorithm>

#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

class Planner {
 public:
  Planner(const std::vector<PruneCandidate>& candidates, const PrunePolicy& policy, uint64_t now)
      : all_(candidates), policy_(policy), now_(now), remove_(candidates.size()), reason_(candidates.size()) {
    std::stable_sort(all_.begin(), all_.end(), [](const PruneCandidate& a, const PruneCandidate& b) {
      return a.created_unix_ns < b.created_unix_ns;
    });
  }

  std::vector<PruneDecision> run() {
    by_age_or_number();
    keep_parents();
    if (policy_.max_size) by_size(*policy_.max_size);
    for (size_t i = 0; i < all_.size(); ++i)
      if (!remove_[i]) reason_[i] = why_kept(i);
    std::vector<bool> done(all_.size());
    for (size_t i = 0; i < all_.size(); ++i) emit(i, &done);
    return std::move(out_);
  }

 private:
  // One of the newest that are kept in any case.
  bool is_protected(size_t i) const { return policy_.keep_last && all_.size() - i <= *policy_.keep_last; }
  bool can_go(size_t i) const { return !is_protected(i) && all_[i].fixed.empty(); }

  // A child that stays, or all_.size().
  size_t staying_child(size_t i) const {
    for (size_t c = 0; c < all_.size(); ++c)
      if (!all_[i].id.empty() && all_[c].parent_id == all_[i].id && !remove_[c]) return c;
    return all_.size();
  }

  void by_age_or_number() {
    for (size_t i = 0; i < all_.size(); ++i) {
      if (!can_go(i)) continue;
      if (policy_.older_than) {
        const auto limit = static_cast<uint64_t>(policy_.older_than->count()) * kNsPerSecond;
        if (all_[i].created_unix_ns >= now_ || now_ - all_[i].created_unix_ns <= limit) continue;
        reason_[i] = "older than --older-than";
      } else if (policy_.keep_last && !policy_.max_size) {
        reason_[i] = fmt::format("not one of the newest {}", *policy_.keep_last);
      } else {
        continue;
      }
      remove_[i] = true;
    }
  }

  void keep_parents() {
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = 0; i < all_.size(); ++i)
        if (remove_[i] && staying_child(i) < all_.size()) {
          remove_[i] = false;
          changed = true;
        }
    }
  }

  void by_size(Bytes limit) {
    Bytes total{};
    for (size_t i = 0; i < all_.size(); ++i)
      if (!remove_[i]) total += all_[i].allocated;
    while (total > limit) {
      size_t oldest = 0;
      while (oldest < all_.size() && (remove_[oldest] || !can_go(oldest) || staying_child(oldest) < all_.size()))
        ++oldest;
      if (oldest == all_.size()) return;
      remove_[oldest] = true;
      reason_[oldest] = fmt::format("all together take more than {}", readable(limit));
      total = total - all_[oldest].allocated;
    }
  }

  std::string why_kept(size_t i) const {
    if (!all_[i].fixed.empty()) return all_[i].fixed;
    if (is_protected(i)) return fmt::format("one of the newest {}", *policy_.keep_last);
    if (const size_t child = staying_child(i); child < all_.size())
      return fmt::format("snapshot {} builds on it", all_[child].tag);
    return "within the limits";
  }

  void emit(size_t i, std::vector<bool>* done) {
    if ((*done)[i]) return;
    (*done)[i] = true;
    for (size_t c = 0; c < all_.size(); ++c)
      if (!all_[i].id.empty() && all_[c].parent_id == all_[i].id) emit(c, done);
    out_.push_back({all_[i].tag, all_[i].allocated, remove_[i], reason_[i]});
  }

  std::vector<PruneCandidate> all_;  // oldest first
  const PrunePolicy& policy_;
  uint64_t now_;
  std::vector<bool> remove_;
  std::vector<std::string> reason_;
  std::vector<PruneDecision> out_;
};

}  // namespace

std::vector<PruneDecision> plan_prune(const std::vector<PruneCandidate>& candidates, const PrunePolicy& policy,
                                      uint64_t unix_now_ns) {
  return Planner(candidates, policy, unix_now_ns).run();
}

}  // namespace ebb::snapshot
