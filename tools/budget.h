// Which DRAM budget a job gets: what the user said, or a careful share of what is free now.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "tools/memory.h"

namespace ebb::tools {

// Below this a pager spends its time on itself: its own tables, one extent in flight per thread, fault-around.
inline constexpr Bytes kSmallestBudget{32u << 20};
// The default budget: this share of what is available, the rest is for the page cache and everyone else.
inline constexpr unsigned kDefaultPercent = 80;

struct Budget {
  Bytes bytes{};
  std::string source;                 // "--dram", "EBB_DRAM" or "default"
  std::string explanation;            // how a default or a percentage came about; may be empty
  std::vector<std::string> warnings;  // what the user should know before the job runs
};

// `promised`: what other jobs on this node were promised and have not taken yet (job_page.h): they will.
// `text` is the user's word, from `source`; without it the default is chosen. Failure: with the reason.
Budget choose_budget(const std::optional<std::string>& text, const std::string& source, const MemoryFacts& memory,
                     Bytes promised, unsigned other_jobs);

}  // namespace ebb::tools
