// The summary of a run on stderr: see report.h.
#include "tools/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <csignal>
#include <cstring>

#include "tools/console.h"

namespace ebb::tools {
namespace {

uint64_t to_ns(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_usec) * 1000;
}

std::string size(uint64_t bytes) { return readable(Bytes{bytes}); }

std::string how_it_ended(const ChildEnd& end, const std::vector<std::string>& messages) {
  if (const int signal = end.signal()) {
    const char* name = sigabbrev_np(signal);
    const bool frozen = std::any_of(messages.begin(), messages.end(),
                                    [](const std::string& message) { return message.rfind(kFrozen, 0) == 0; });
    return fmt::format("killed by SIG{}{}", name ? name : std::to_string(signal),
                       signal != SIGKILL ? ""
                       : frozen          ? " (by `ebb snapshot`, see below)"
                                         : " (out of memory? see the kernel's log)");
  }
  return fmt::format("exit {}", end.exit_code());
}

std::string line(std::string_view label, std::string_view text) { return fmt::format("  {:<14} {}", label, text); }

void add_troubles(const RunRecord& run, std::vector<std::string>* out) {
  const JobCounts& c = run.counts;
  if (c.errors())
    out->push_back(line("errors", fmt::format("{} reads and {} writes of the tier failed, {} pages came back damaged",
                                              c.read_errors, c.write_errors, c.bad_pages)));
  if (c.over_budget > 0)
    out->push_back(line("over budget", fmt::format("by {} at most: the tier could not take it", size(c.over_budget))));
  for (const auto& message : c.messages) out->push_back(line("message", message));
  if (c.messages_posted > c.messages.size())
    out->push_back(line("message", fmt::format("and {} more", c.messages_posted - c.messages.size())));
  if (!run.survivors.empty())
    out->push_back(line("still running",
                        fmt::format("process {}: outlived the command, keeps paging, and is not in this summary's "
                                    "figures from now on",
                                    fmt::join(run.survivors, ", "))));
}

}  // namespace

std::vector<std::string> summary_lines(const RunRecord& run) {
  const JobCounts& c = run.counts;
  const std::string ended =
      fmt::format("{}: {} after {}", run.name, how_it_ended(run.end, c.messages), readable_time(run.wall_ns));
  std::vector<std::string> out;
  if (!run.managed) return {ended};
  if (c.paged_processes == 0 && c.evicted == 0) {
    out.push_back(c.processes == 0
                      ? fmt::format("{}; fitted in DRAM: no process of it grew large enough to be managed", ended)
                      : fmt::format("{}; fitted in DRAM: nothing moved (managed at most {}, budget {})", ended,
                                    size(c.peak_managed), size(c.budget)));
    add_troubles(run, &out);
    return out;
  }
  out.push_back(ended);
  out.push_back(line("peak need", fmt::format("{} (reserved {})", size(c.peak_need), size(c.peak_managed))));
  out.push_back(line("peak DRAM", fmt::format("{} of a budget of {}", size(c.peak_charged), size(c.budget))));
  out.push_back(line("evicted", fmt::format("{}, {} of it written; store at most {}", size(c.evicted),
                                            size(c.written - c.cleaned), size(c.peak_store))));
  if (c.cleaned) out.push_back(line("written ahead", fmt::format("{}, for snapshots", size(c.cleaned))));
  out.push_back(
      line("brought back", fmt::format("{} from the store, {} from limbo", size(c.loaded), size(c.returned))));
  out.push_back(line("stalls", fmt::format("{} in {} faults", readable_time(c.stall_ns), c.faults)));
  out.push_back(line("program",
                     fmt::format("{} user, {} system, largest process {}", readable_time(to_ns(run.end.usage.ru_utime)),
                                 readable_time(to_ns(run.end.usage.ru_stime)),
                                 size(static_cast<uint64_t>(run.end.usage.ru_maxrss) * 1024))));
  out.push_back(line("Ebbtide itself",
                     fmt::format("{} processor time, {} memory", readable_time(c.pager_cpu_ns), size(c.peak_own))));
  out.push_back(line("processes", fmt::format("{}, paged {}", c.processes, c.paged_processes)));
  add_troubles(run, &out);
  return out;
}

}  // namespace ebb::tools
