// What a run was, for people (the summary on stderr) and for programs (the JSON report).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/budget.h"
#include "tools/child.h"
#include "tools/job_page.h"
#include "tools/program.h"
#include "tools/tier.h"

namespace ebb::tools {

struct RunRecord {
  std::string name;
  std::vector<std::string> argv;
  std::string working_directory;
  Program program;
  bool managed = false;  // the library was preloaded
  std::string library;
  Budget budget;
  std::vector<Tier> tiers;
  uint64_t started_unix_ns = 0, finished_unix_ns = 0, wall_ns = 0;
  ChildEnd end;
  JobCounts counts;
  std::vector<pid_t> survivors;  // processes of the job that outlived the command
  std::vector<std::string> warnings;
};

// About ten lines; one when nothing moved.
std::vector<std::string> summary_lines(const RunRecord& run);

// Schema "ebbtide.run/1": docs/options.md describes it.
nlohmann::json report_json(const RunRecord& run);

// Before the start: a reason why FILE could not be written later, or "".
std::string report_obstacle(const std::string& file);
// Whole or not at all: a temporary file beside it, renamed. Devices and pipes are written to directly.
// Returns the reason of a failure, or "".
std::string write_report(const std::string& file, const nlohmann::json& report);

}  // namespace ebb::tools
