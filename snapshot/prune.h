// Which snapshots a policy removes. Pure decisions; Catalogue::prune() carries them out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace ebb::snapshot {

// At least one rule. The newest `keep_last` are never removed. Of the others go those that are older than `older_than`,
// and the oldest ones until all that is left takes at most `max_size` on disk; without these two rules, all others.
struct PrunePolicy {
  std::optional<uint64_t> keep_last;
  std::optional<std::chrono::seconds> older_than;
  std::optional<Bytes> max_size;
  bool empty() const { return !keep_last && !older_than && !max_size; }
};

// What the decision needs to know of a snapshot.
struct PruneCandidate {
  std::string tag;
  std::string id;
  std::string parent_id;  // or ""
  uint64_t created_unix_ns = 0;
  Bytes allocated{};
  std::string fixed;  // why it cannot be removed at all ("in use by ..."), or ""
};

struct PruneDecision {
  std::string tag;
  Bytes allocated{};
  bool remove = false;
  std::string reason;  // "older than --older-than", "snapshot b builds on it", ...
};

// One decision for each candidate; children come before their parents, so that the order is one to remove in. A parent
// goes only when all that builds on it goes, too.
std::vector<PruneDecision> plan_prune(const std::vector<PruneCandidate>& candidates, const PrunePolicy& policy,
                                      uint64_t unix_now_ns);

}  // namespace ebb::snapshot
