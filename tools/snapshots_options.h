// The command line of `ebb snapshots`.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/prune.h"

namespace ebb::tools {

enum class SnapshotsAction { kList, kShow, kVerify, kRemove, kPrune, kExport, kImport };

struct SnapshotsOptions {
  SnapshotsAction action = SnapshotsAction::kList;
  std::vector<std::string> tags;
  std::string root;  // as typed, or "": the default
  bool json = false;
  bool all = false;  // verify
  bool dry_run = false;
  snapshot::PrunePolicy policy;
  std::string file;  // export, import; "-" is a standard stream
  std::optional<std::string> as;
  std::optional<std::string> help;  // set: print it instead
};

// `arguments` come after the word `snapshots`. Failure (125) names the word at fault.
SnapshotsOptions parse_snapshots(const std::vector<std::string>& arguments);

// NUMBER and one of s, m, h, d, w: "30m", "12h", "7d". Nothing for any other text, zero, and more than a century.
std::optional<std::chrono::seconds> parse_duration(std::string_view text);

}  // namespace ebb::tools
