// How much memory this process may use: see memory.h.
#include "tools/memory.h"

#include <algorithm>
#include <cstdlib>

namespace ebb::tools {
namespace {

// v1 writes "no limit" as the largest page-aligned number.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

struct Controller {
  int version = 0;
  std::string mount_point;
  std::string path;  // below the mount point: "" or "/a/b"
};

// The path of this process below `mount`, which may show only a part of the hierarchy (containers).
std::string below(const Mount& mount, const std::string& path) {
  if (path.find("/..") != std::string::npos) return "";
  if (mount.root == "/") return path == "/" ? "" : path;
  if (path == mount.root) return "";
  if (path.compare(0, mount.root.size() + 1, mount.root + "/") == 0) return path.substr(mount.root.size());
  return "";
}

Controller find_controller(const SystemFiles& files) {
  std::string v1_path, v2_path;
  for (const auto& entry : split(files.read("/proc/self/cgroup").value_or(""), '\n')) {
    const size_t first = entry.find(':');
    const size_t second = entry.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const auto names = split(entry.substr(first + 1, second - first - 1), ',');
    const std::string path = entry.substr(second + 1);
    if (std::find(names.begin(), names.end(), "memory") != names.end()) v1_path = path;
    if (names.empty()) v2_path = path;
  }
  const auto mounts = files.mounts();
  for (const auto& m : mounts)
    if (!v1_path.empty() && m.type == "cgroup" && m.has_option("memory")) return {1, m.point, below(m, v1_path)};
  for (const auto& m : mounts)
    if (!v2_path.empty() && m.type == "cgroup2") return {2, m.point, below(m, v2_path)};
  return {};
}

std::optional<Bytes> limit_in(const SystemFiles& files, const std::string& file) {
  const auto value = files.number(file);  // "max" is no number
  if (!value || *value < 0 || static_cast<uint64_t>(*value) >= kNoLimit) return std::nullopt;
  return Bytes{static_cast<uint64_t>(*value)};
}

// A value of memory.stat, "name value" lines.
uint64_t stat_value(const SystemFiles& files, const std::string& file, const std::string& name) {
  for (const auto& entry : split(files.read(file).value_or(""), '\n'))
    if (entry.compare(0, name.size() + 1, name + " ") == 0)
      return static_cast<uint64_t>(parse_number(entry.substr(name.size() + 1)).value_or(0));
  return 0;
}

Bytes less(Bytes a, Bytes b) { return a > b ? a - b : Bytes{}; }

// One level of the hierarchy: tightens `facts` by its limit.
void apply_level(const SystemFiles& files, int version, const std::string& folder, MemoryFacts* facts) {
  const bool v2 = version == 2;
  auto limit = limit_in(files, folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  // memory.high throttles instead of killing, but a job above it crawls: the same to us.
  if (v2)
    if (const auto high = limit_in(files, folder + "/memory.high")) limit = limit ? std::min(*limit, *high) : *high;
  if (!limit) return;
  if (!facts->cgroup_limit || *limit < *facts->cgroup_limit) {
    facts->cgroup_limit = limit;
    facts->cgroup_path = folder;
    if (v2) {
      facts->cgroup_swap = limit_in(files, folder + "/memory.swap.max");
    } else if (const auto both = limit_in(files, folder + "/memory.memsw.limit_in_bytes")) {
      facts->cgroup_swap = less(*both, *limit);
    }
  }
  if (*limit < facts->usable) {
    facts->usable = *limit;
    facts->limited_by = "cgroup";
  }
  const auto used = limit_in(files, folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(Bytes{});
  const Bytes reclaimable{stat_value(files, folder + "/memory.stat", v2 ? "inactive_file" : "total_inactive_file")};
  facts->available = std::min(facts->available, less(*limit, less(used, reclaimable)));
}

}  // namespace

MemoryFacts read_memory(const SystemFiles& files, std::optional<Bytes> slurm_bytes) {
  MemoryFacts facts;
  facts.machine = Bytes{files.kib_field("/proc/meminfo", "MemTotal").value_or(0)};
  facts.usable = facts.machine;
  facts.available = Bytes{files.kib_field("/proc/meminfo", "MemAvailable").value_or(facts.machine.count)};

  const Controller controller = find_controller(files);
  facts.cgroup_version = controller.version;
  if (controller.version != 0) {
    std::string path = controller.path;
    for (;;) {
      apply_level(files, controller.version, controller.mount_point + path, &facts);
      if (path.empty()) break;
      path.resize(path.rfind('/'));
    }
  }
  if (slurm_bytes && *slurm_bytes < facts.usable) {
    facts.usable = *slurm_bytes;
    facts.limited_by = "Slurm";
    facts.available = std::min(facts.available, *slurm_bytes);
  }
  return facts;
}

std::optional<Bytes> slurm_grant(const char* mem_per_node, const char* mem_per_cpu, const char* cpus_on_node) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  const auto positive = [](const char* text) -> std::optional<uint64_t> {
    const auto value = text ? parse_number(text) : std::nullopt;
    if (!value || *value <= 0 || *value > int64_t{1} << 40) return std::nullopt;
    return static_cast<uint64_t>(*value);
  };
  if (const auto node = positive(mem_per_node)) return Bytes{*node * kMiB};
  const auto cpu = positive(mem_per_cpu), count = positive(cpus_on_node);
  if (cpu && count && *count < 1 << 20 && *cpu < uint64_t{1} << 30) return Bytes{*cpu * *count * kMiB};
  return std::nullopt;
}

MemoryFacts memory_here() {
  return read_memory(SystemFiles(), slurm_grant(std::getenv("SLURM_MEM_PER_NODE"), std::getenv("SLURM_MEM_PER_CPU"),
                                                std::getenv("SLURM_CPUS_ON_NODE")));
}

}  // namespace ebb::tools
