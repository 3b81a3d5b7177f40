// The command line of `ebb run`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/console.h"
#include "tools/snapshot_on.h"

namespace ebb::tools {

struct RunOptions {
  std::optional<std::string> dram;  // as typed
  std::vector<std::string> slow;    // as typed
  std::string name;                 // of the job, for people
  std::string report;               // file for the JSON report, or ""
  std::string resume;               // snapshot to restore if there is one, or ""
  std::optional<SnapshotOn> snapshot_on;
  bool clean_ahead = false;
  std::optional<Verbosity> verbosity;
  std::vector<std::string> command;
  std::optional<std::string> help;  // set: print it instead
};

// `arguments` come after the word `run`. Options end at the first word that is not one, or at `--`. Failure (125) names
// the option at fault.
RunOptions parse_run(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
