// Snapshots as text and as JSON. Pure: the caller prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "snapshot/prune.h"
#include "snapshot/state.h"

namespace ebb::tools {

// A table of all, with its heading; "no snapshots in ROOT" when there are none.
std::string list_text(const std::vector<snapshot::Snapshot>& all, const std::string& root);
// Schema ebbtide.snapshots/1.
nlohmann::json list_json(const std::vector<snapshot::Snapshot>& all, const std::string& root);

// `users`: who keeps it from being removed.
std::string show_text(const snapshot::Snapshot& one, const std::vector<std::string>& users);
// Schema ebbtide.snapshot-details/1; `manifest` in it is as on disk, or null.
nlohmann::json show_json(const snapshot::Snapshot& one, const std::vector<std::string>& users);

struct Verified {
  snapshot::Snapshot snapshot;
  std::vector<snapshot::Problem> problems;
};
std::string verify_text(const std::vector<Verified>& all);
// Schema ebbtide.snapshots-verify/1.
nlohmann::json verify_json(const std::vector<Verified>& all);

std::string prune_text(const std::vector<snapshot::PruneDecision>& decisions, bool dry_run);

}  // namespace ebb::tools
