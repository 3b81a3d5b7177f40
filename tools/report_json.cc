// The JSON report of a run and the writing of it: see report.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/console.h"
#include "tools/fd.h"
#include "tools/report.h"

namespace ebb::tools {
namespace {

using nlohmann::json;

uint64_t to_ns(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_usec) * 1000;
}

json tiers_json(const std::vector<Tier>& tiers) {
  json out = json::array();
  for (const auto& tier : tiers)
    out.push_back({{"kind", "file"},
                   {"path", tier.path},
                   {"file_system", tier.file_system},
                   {"free_at_start_bytes", tier.free.count}});
  return out;
}

json counts_json(const JobCounts& c) {
  return {{"budget_bytes", c.budget},
          {"peak_need_bytes", c.peak_need},
          {"peak_dram_bytes", c.peak_charged},
          {"peak_managed_bytes", c.peak_managed},
          {"peak_store_bytes", c.peak_store},
          {"peak_own_bytes", c.peak_own},
          {"evicted_bytes", c.evicted},
          {"written_bytes", c.written},
          {"cleaned_bytes", c.cleaned},
          {"loaded_bytes", c.loaded},
          {"returned_bytes", c.returned},
          {"zero_filled_bytes", c.zeroed},
          {"over_budget_bytes", c.over_budget},
          {"faults", c.faults},
          {"stall_ns", c.stall_ns},
          {"pager_cpu_ns", c.pager_cpu_ns},
          {"read_errors", c.read_errors},
          {"write_errors", c.write_errors},
          {"damaged_pages", c.bad_pages},
          {"processes", c.processes},
          {"paged_processes", c.paged_processes},
          {"messages_posted", c.messages_posted}};
}

// Where the file will really be: a symbolic link is followed, not replaced.
std::string resolved(const std::string& file) {
  char real[PATH_MAX];
  return realpath(file.c_str(), real) ? real : file;
}

std::string folder_of(const std::string& file) {
  const size_t slash = file.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : file.substr(0, slash);
}

}  // namespace

json report_json(const RunRecord& run) {
  const int signal = run.end.signal();
  const char* signal_name = signal ? sigabbrev_np(signal) : nullptr;
  const rusage& usage = run.end.usage;
  return {
      {"schema", "ebbtide.run/1"},
      {"ebbtide_version", version()},
      {"name", run.name},
      {"argv", run.argv},
      {"program_path", run.program.path},
      {"working_directory", run.working_directory},
      {"started_at", rfc3339(run.started_unix_ns)},
      {"finished_at", rfc3339(run.finished_unix_ns)},
      {"wall_ns", run.wall_ns},
      {"exit_code", run.end.exit_code()},
      {"signal", signal ? json(signal) : json(nullptr)},
      {"signal_name", signal_name ? json(std::string("SIG") + signal_name) : json(nullptr)},
      {"managed", run.managed},
      {"unmanaged_reason", run.program.reason.empty() ? json(nullptr) : json(run.program.reason)},
      {"library", run.library.empty() ? json(nullptr) : json(run.library)},
      {"budget_source", run.budget.source.empty() ? json(nullptr) : json(run.budget.source)},
      {"tiers", tiers_json(run.tiers)},
      {"job", counts_json(run.counts)},
      {"program",
       {{"user_ns", to_ns(usage.ru_utime)},
        {"system_ns", to_ns(usage.ru_stime)},
        {"largest_process_bytes", static_cast<uint64_t>(usage.ru_maxrss) * 1024},
        {"major_faults", usage.ru_majflt},
        {"minor_faults", usage.ru_minflt}}},
      {"surviving_pids", run.survivors},
      {"warnings", run.warnings},
      {"messages", run.counts.messages},
  };
}

std::string report_obstacle(const std::string& file) {
  const std::string target = resolved(file);
  struct stat info = {};
  const bool exists = stat(target.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) return "it is a directory";
  if (exists && !S_ISREG(info.st_mode)) return access(target.c_str(), W_OK) == 0 ? "" : error_text(errno);
  return access(folder_of(target).c_str(), W_OK | X_OK) == 0 ? "" : "its directory: " + error_text(errno);
}

std::string write_report(const std::string& file, const json& report) {
  // Arguments need not be UTF-8, JSON must be.
  const std::string text = report.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  const std::string target = resolved(file);
  struct stat info = {};
  if (stat(target.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    const Fd out(open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    return out.valid() && write_all(out.get(), text) ? "" : error_text(errno);
  }
  const std::string temporary = fmt::format("{}.{}.tmp", target, getpid());
  Fd out(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!out.valid()) return error_text(errno);
  const bool written = write_all(out.get(), text);
  const int write_error = errno;
  out.reset();
  if (written && rename(temporary.c_str(), target.c_str()) == 0) return "";
  const std::string reason = error_text(written ? errno : write_error);
  unlink(temporary.c_str());
  return reason;
}

}  // namespace ebb::tools
