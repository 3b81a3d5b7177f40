// How much memory this process may use: the machine, the memory cgroups above it (v1 and v2), and Slurm's word.
#pragma once

#include <optional>
#include <string>

#include "base/units.h"
#include "tools/system_files.h"

namespace ebb::tools {

struct MemoryFacts {
  Bytes machine{};         // MemTotal
  Bytes usable{};          // the smallest of the machine and all limits; --dram PERCENT is a share of this
  Bytes available{};       // of it, what could be taken now without swapping or reclaim of live memory
  std::string limited_by;  // "" (the machine itself), "cgroup", "Slurm"
  std::optional<Bytes> cgroup_limit;
  std::string cgroup_path;           // the folder of the tightest limit, for messages
  std::optional<Bytes> cgroup_swap;  // swap that the cgroup may use
  int cgroup_version = 0;            // 0: no memory controller seen
};

// `slurm_bytes`: what Slurm granted the job on this node, from slurm_grant().
MemoryFacts read_memory(const SystemFiles& files, std::optional<Bytes> slurm_bytes);

// SLURM_MEM_PER_NODE, or SLURM_MEM_PER_CPU times SLURM_CPUS_ON_NODE (both are MiB); 0 there means "all of the node".
std::optional<Bytes> slurm_grant(const char* mem_per_node, const char* mem_per_cpu, const char* cpus_on_node);

// Both at once, for this process.
MemoryFacts memory_here();

}  // namespace ebb::tools
