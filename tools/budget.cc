// Which DRAM budget a job gets: see budget.h.
#include "tools/budget.h"

#include <fmt/format.h>

#include "base/size.h"
#include "tools/console.h"

namespace ebb::tools {
namespace {

std::string place(const MemoryFacts& memory) {
  if (memory.limited_by == "cgroup") return "the memory cgroup's limit";
  if (memory.limited_by == "Slurm") return "what Slurm granted";
  return "the machine's memory";
}

Budget default_budget(const MemoryFacts& memory, Bytes promised, unsigned other_jobs) {
  Budget budget;
  budget.source = "default";
  const Bytes left = memory.available > promised ? memory.available - promised : Bytes{};
  budget.bytes = Bytes{align_down(percent_of(kDefaultPercent * uint64_t{1'000'000}, left).count, kExtentSize)};
  budget.explanation = fmt::format("{} % of {} available", kDefaultPercent, readable(left));
  if (promised.count > 0)
    budget.explanation +=
        fmt::format(" after {} promised to {} other job{}", readable(promised), other_jobs, other_jobs == 1 ? "" : "s");
  if (budget.bytes < kSmallestBudget)
    throw Failure(
        fmt::format("{} is too little for a default budget ({} is the least): wait for other jobs, or name a "
                    "budget with --dram",
                    budget.explanation, readable(kSmallestBudget)));
  return budget;
}

}  // namespace

Budget choose_budget(const std::optional<std::string>& text, const std::string& source, const MemoryFacts& memory,
                     Bytes promised, unsigned other_jobs) {
  if (!text) return default_budget(memory, promised, other_jobs);

  const SizeSpec spec = parse_size(*text, true);
  if (spec.error != SizeError::kNone) throw Failure(fmt::format("{}: '{}' {}", source, *text, describe(spec.error)));
  Budget budget;
  budget.source = source;
  budget.bytes = spec.bytes;
  if (spec.is_percent) {
    budget.bytes = percent_of(spec.percent_e6, memory.usable);
    budget.explanation = fmt::format("{} of {}, {}", *text, readable(memory.usable), place(memory));
  }
  budget.bytes = Bytes{align_down(budget.bytes.count, kPageSize)};
  if (budget.bytes < kSmallestBudget)
    throw Failure(
        fmt::format("{}: {} is too small: a budget below {} leaves no room for a working set, and the job would "
                    "only page; give it more",
                    source, readable(budget.bytes), readable(kSmallestBudget)));
  if (budget.bytes > memory.usable)
    budget.warnings.push_back(
        fmt::format("the budget of {} is more than {} ({}): the job can be killed for memory before "
                    "anything is evicted; lower --dram",
                    readable(budget.bytes), place(memory), readable(memory.usable)));
  else if (budget.bytes > memory.available)
    budget.warnings.push_back(
        fmt::format("the budget of {} is more than is available now ({}): others hold the rest; the "
                    "machine may swap or kill before anything is evicted",
                    readable(budget.bytes), readable(memory.available)));
  else if (promised.count > 0 && budget.bytes + promised > memory.available)
    budget.warnings.push_back(
        fmt::format("{} other job{} on this node may still take {}: together with {} that is more "
                    "than is available ({})",
                    other_jobs, other_jobs == 1 ? "" : "s", readable(promised), readable(budget.bytes),
                    readable(memory.available)));
  return budget;
}

}  // namespace ebb::tools
