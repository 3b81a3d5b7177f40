// `ebb doctor`: memory, who else manages it, and the limits of a process.
#include <fmt/format.h>
#include <sys/resource.h>
#include <algorithm>

#include "tools/budget.h"
#include "tools/console.h"
#include "tools/doctor.h"

namespace ebb::tools {
namespace {

std::string limit_text(rlim_t value) { return value == RLIM_INFINITY ? "unlimited" : readable(Bytes{value}); }

// The word in brackets of "always [madvise] never".
std::string chosen(const std::string& line) {
  const size_t open = line.find('['), close = line.find(']');
  if (open == std::string::npos || close == std::string::npos) return line;
  return line.substr(open + 1, close - open - 1);
}

Check usable_memory(const MemoryFacts& memory) {
  Check check{"memory", "memory", Health::kOk, "", "", ""};
  check.detail = fmt::format("{} usable{}, {} available now", readable(memory.usable),
                             memory.limited_by.empty() ? "" : " (limited by " + memory.limited_by + ")",
                             readable(memory.available));
  if (memory.available < Bytes{kSmallestBudget.count * 2}) {
    check.health = Health::kWarn;
    check.lost = "room for even the smallest budget";
    check.mend = "end other jobs, or raise the memory limit";
  }
  return check;
}

Check cgroup(const MemoryFacts& memory) {
  Check check{"memory_cgroup", "memory cgroup", Health::kOk, "", "", ""};
  if (memory.cgroup_version == 0) {
    check.detail = "none seen: only the machine's memory limits a job";
  } else if (!memory.cgroup_limit) {
    check.detail = fmt::format("v{}, no limit", memory.cgroup_version);
  } else {
    check.detail = fmt::format("v{}, limit {}, swap {} ({})", memory.cgroup_version, readable(*memory.cgroup_limit),
                               memory.cgroup_swap ? readable(*memory.cgroup_swap) : "unlimited", memory.cgroup_path);
  }
  return check;
}

Check swap(const SystemFiles& files, nlohmann::json* facts) {
  const uint64_t total = files.kib_field("/proc/meminfo", "SwapTotal").value_or(0);
  (*facts)["swap_bytes"] = total;
  Check check{"swap", "kernel swap", Health::kOk, "none", "", ""};
  if (total > 0)
    check.detail = fmt::format("{}, swappiness {}: the kernel may also swap what Ebbtide keeps resident",
                               readable(Bytes{total}), files.number("/proc/sys/vm/swappiness").value_or(60));
  return check;
}

Check huge_pages(const SystemFiles& files) {
  const std::string base = "/sys/kernel/mm/transparent_hugepage/";
  const std::string mode = chosen(files.line(base + "enabled").value_or("not built in"));
  Check check{"huge_pages", "huge pages", Health::kOk, fmt::format("transparent: {}", mode), "", ""};
  if (mode != "always" && mode != "madvise") {
    check.health = Health::kWarn;
    check.lost = "huge pages under large heaps: more TLB misses while a job fits";
    check.mend = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  }
  return check;
}

Check overcommit(const SystemFiles& files) {
  const auto mode = files.number("/proc/sys/vm/overcommit_memory").value_or(0);
  Check check{"overcommit", "overcommit", Health::kOk, fmt::format("vm.overcommit_memory = {}", mode), "", ""};
  if (mode == 2) {
    check.health = Health::kWarn;
    check.detail += fmt::format(", {} of {} committed",
                                readable(Bytes{files.kib_field("/proc/meminfo", "Committed_AS").value_or(0)}),
                                readable(Bytes{files.kib_field("/proc/meminfo", "CommitLimit").value_or(0)}));
    check.lost = "programs larger than DRAM: the kernel refuses their memory before anything can be evicted";
    check.mend = "sysctl -w vm.overcommit_memory=0";
  }
  return check;
}

// Two that move pages by their own idea of heat undo each other's work.
Check kernel_tiering(const SystemFiles& files) {
  const auto balancing = files.number("/proc/sys/kernel/numa_balancing").value_or(0);
  const bool demotion = files.line("/sys/kernel/mm/numa/demotion_enabled") == "true";
  Check check{"kernel_tiering", "kernel tiering", Health::kOk, "off", "", ""};
  if (demotion || balancing & 2) {
    check.health = Health::kWarn;
    check.detail = fmt::format("kernel.numa_balancing = {}, demotion {}", balancing, demotion ? "on" : "off");
    check.lost = "speed: the kernel moves pages between nodes as well";
    check.mend = "sysctl -w kernel.numa_balancing=1; echo false > /sys/kernel/mm/numa/demotion_enabled";
  }
  return check;
}

Check numa(const SystemFiles& files, nlohmann::json* facts) {
  unsigned nodes = 0;
  std::vector<std::string> without_cpus;
  for (const auto& name : files.names("/sys/devices/system/node")) {
    if (name.rfind("node", 0) != 0 || !parse_number(name.substr(4))) continue;
    ++nodes;
    const std::string folder = "/sys/devices/system/node/" + name;
    // "Node 1 MemTotal:  1048576 kB"
    const auto total =
        files.kib_field(folder + "/meminfo", fmt::format("Node {} MemTotal", name.substr(4))).value_or(0);
    if (files.line(folder + "/cpulist").value_or("?").empty() && total > 0)
      without_cpus.push_back(fmt::format("{} ({})", name, readable(Bytes{total})));
  }
  (*facts)["numa_nodes"] = nodes;
  (*facts)["numa_nodes_without_cpus"] = without_cpus.size();
  Check check{"numa", "NUMA nodes", Health::kOk, fmt::format("{}", std::max(nodes, 1u)), "", ""};
  for (const auto& node : without_cpus) check.detail += fmt::format("; {} has memory and no CPUs", node);
  return check;
}

void add_limit(Checks* checks, int resource, const char* id, const char* title, rlim_t least, bool bytes,
               const char* lost, const char* mend) {
  rlimit limit = {};
  getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  Check check{id, title, Health::kOk, "", "", ""};
  check.detail = bytes || limit.rlim_cur == RLIM_INFINITY ? limit_text(limit.rlim_cur) : std::to_string(limit.rlim_cur);
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < least) {
    check.health = Health::kWarn;
    check.lost = lost;
    check.mend = mend;
  }
  checks->push_back(std::move(check));
}

}  // namespace

void check_memory(const SystemFiles& files, const MemoryFacts& memory, Checks* checks, nlohmann::json* facts) {
  (*facts)["machine_memory_bytes"] = memory.machine.count;
  (*facts)["usable_memory_bytes"] = memory.usable.count;
  (*facts)["available_memory_bytes"] = memory.available.count;
  (*facts)["cgroup_version"] = memory.cgroup_version;
  (*facts)["cgroup_limit_bytes"] =
      memory.cgroup_limit ? nlohmann::json(memory.cgroup_limit->count) : nlohmann::json(nullptr);
  checks->push_back(usable_memory(memory));
  checks->push_back(cgroup(memory));
  checks->push_back(swap(files, facts));
  checks->push_back(huge_pages(files));
  checks->push_back(overcommit(files));
  checks->push_back(kernel_tiering(files));
  checks->push_back(numa(files, facts));
}

void check_limits(const SystemFiles& files, Checks* checks, nlohmann::json* facts) {
  add_limit(checks, RLIMIT_NOFILE, "open_files", "open files", 1024, false,
            "our few descriptors may not fit beside the program's", "ulimit -n 4096");
  add_limit(checks, RLIMIT_AS, "address_space", "address space", RLIM_INFINITY, true,
            "programs larger than the limit, and our reserved ranges count against it", "ulimit -v unlimited");
  add_limit(checks, RLIMIT_DATA, "data_size", "data size", RLIM_INFINITY, true,
            "programs larger than the limit: the heap counts although it is on the slow tier", "ulimit -d unlimited");
  // Our rings need none of it since Linux 5.12; programs that lock memory do.
  add_limit(checks, RLIMIT_MEMLOCK, "locked_memory", "locked memory", 64 << 10, true,
            "programs that lock buffers (io_uring, RDMA)", "ulimit -l 65536");
  const auto maps = files.number("/proc/sys/vm/max_map_count").value_or(65530);
  (*facts)["max_map_count"] = maps;
  Check check{"max_map_count", "mappings", Health::kOk, fmt::format("vm.max_map_count = {}", maps), "", ""};
  if (maps < 65530) {
    check.health = Health::kWarn;
    check.lost = "large programs: each armed range splits a mapping";
    check.mend = "sysctl -w vm.max_map_count=1048576";
  }
  checks->push_back(std::move(check));
}

}  // namespace ebb::tools
