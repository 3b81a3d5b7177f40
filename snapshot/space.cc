// Space on the file systems that a snapshot is written to: see space.h.
#include "snapshot/space.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <algorithm>
#include <cstdlib>

#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

// Of /proc/PID/status: "RssAnon:     1234 kB".
Bytes status_bytes(pid_t pid, const char* field) {
  const auto text = tools::SystemFiles().field(fmt::format("/proc/{}/status", pid), field).value_or("");
  return {std::strtoull(text.c_str(), nullptr, 10) * 1024};
}

Bytes less(Bytes all, Bytes part) { return {all.count - std::min(all.count, part.count)}; }

}  // namespace

Bytes bytes_to_write(const ProcessTree& tree, const JobPages& pages) {
  Bytes own{}, shared{};
  for (const pid_t pid : tree.pids) {
    own += status_bytes(pid, "RssAnon");
    shared = std::max(shared, status_bytes(pid, "RssShmem"));  // stored once
  }
  for (const auto& process : pages.processes())
    own = less(own, {process.page->control().slot[process.slot].borrowed.load(std::memory_order_relaxed)});
  return own + shared;
}

std::string free_space(const std::string& folder) {
  struct statvfs info = {};
  if (statvfs(folder.c_str(), &info) != 0) return fmt::format("what is free in {} is not known", folder);
  return fmt::format("{} free in {}", tools::readable(Bytes{uint64_t{info.f_bavail} * info.f_frsize}), folder);
}

std::string full_where(const PagedProcess& process) {
  constexpr std::string_view kFile = "file:";
  std::string slow = start_variable(process.pid, "EBB_SLOW");
  slow = slow.substr(0, slow.find_first_of(",="));
  if (slow.starts_with(kFile)) slow.erase(0, kFile.size());
  std::string out;
  if (slow.starts_with("/")) out = fmt::format("slow tier: {}; ", free_space(slow));
  const std::string folder = process.page->control().freeze_folder;
  return fmt::format("{}snapshot: {}", out, free_space(folder));
}

}  // namespace ebb::snapshot
