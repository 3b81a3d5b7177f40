// Slow tiers as the user names them, and the check that one can be used before a program is started on it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace ebb::tools {

enum class TierMedium { kDisk, kMemory, kNetwork };

struct Tier {
  std::string path;  // the directory, absolute
  bool created = false;
  TierMedium medium = TierMedium::kDisk;
  std::string file_system;  // "ext4", "tmpfs", ... or a number in hex
  Bytes free{};
  std::string spec() const { return "file:" + path; }
};

// `file:PATH`. Failure for everything else, for kinds that this version does not have, and for a directory in which no
// file can be made; each says what to do. `source` names the option.
Tier open_tier(const std::string& text, const std::string& source);

// The environment that decides where the default tier is; null where unset.
struct TierEnvironment {
  const char* slurm_job_id;
  const char* tmpdir;
  const char* xdg_cache_home;
  const char* home;
};
TierEnvironment tier_environment_here();
// Under Slurm the job's own scratch, else the user's cache. Only the name; empty when no directory is known.
std::string default_tier_path(const TierEnvironment& environment, unsigned user);
// Makes the default directory, for its owner only, and checks it like open_tier. Failure with the reason.
Tier open_default_tier(const std::string& path);

// Things to know before the job starts: a tier in DRAM, on a network, with less free space than a job may want.
std::vector<std::string> tier_warnings(const Tier& tier, Bytes budget);

// Fills in medium, file_system and free.
void describe_medium(const std::string& path, Tier* tier);

}  // namespace ebb::tools
