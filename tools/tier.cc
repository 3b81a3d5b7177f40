// Slow tiers as the user names them: see tier.h.
#include "tools/tier.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "tools/console.h"
#include "tools/fd.h"

namespace ebb::tools {
namespace {

constexpr Bytes kLittleSpace{uint64_t{1} << 30};

struct KnownFileSystem {
  uint64_t magic;
  const char* name;
  TierMedium medium;
};
// linux/magic.h has only some of them.
constexpr KnownFileSystem kKnown[] = {
    {0xef53, "ext4", TierMedium::kDisk},        {0x58465342, "xfs", TierMedium::kDisk},
    {0x9123683e, "btrfs", TierMedium::kDisk},   {0x2fc12fc1, "zfs", TierMedium::kDisk},
    {0xf2f52010, "f2fs", TierMedium::kDisk},    {0x794c7630, "overlayfs", TierMedium::kDisk},
    {0x01021994, "tmpfs", TierMedium::kMemory}, {0x858458f6, "ramfs", TierMedium::kMemory},
    {0x6969, "nfs", TierMedium::kNetwork},      {0x0bd00bd0, "lustre", TierMedium::kNetwork},
    {0x47504653, "gpfs", TierMedium::kNetwork}, {0x19830326, "beegfs", TierMedium::kNetwork},
    {0x00c36400, "ceph", TierMedium::kNetwork}, {0xff534d42, "cifs", TierMedium::kNetwork},
    {0xfe534d42, "smb2", TierMedium::kNetwork}, {0x65735546, "fuse", TierMedium::kNetwork},
};

// The runtime does the same for each layer: a file of mode 0600 that is unlinked before anything is in it.
// 0 or the errno of what failed.
int try_file_in(const std::string& folder) {
  Fd file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) {
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) return errno;
    const std::string name = fmt::format("{}/.ebb-check-{}", folder, getpid());
    file.reset(open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (!file.valid()) return errno;
    if (unlink(name.c_str()) != 0) return errno;
  }
  // A full disk and a used-up quota show at the first block only.
  const std::string page(kPageSize, '\1');
  return write_all(file.get(), page) ? 0 : errno;
}

std::string what_to_do(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "choose a directory you can write to, or ask for the right";
    case EROFS:
      return "the file system is read-only; choose another";
    case ENOSPC:
      return "the file system is full; free space or choose another";
    case EDQUOT:
      return "your quota is used up; free space or choose another";
    default:
      return "choose another directory";
  }
}

void check_tier(const std::string& source, Tier* tier) {
  if (const int error = try_file_in(tier->path))
    throw Failure(
        fmt::format("{}: cannot create files in {}: {}; {}", source, tier->path, error_text(error), what_to_do(error)));
  describe_medium(tier->path, tier);
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr), &std::free);
  return real ? real.get() : path;
}

// mkdir -p with mode 0700. The failing errno, or 0.
int make_private_folders(const std::string& path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    if (mkdir(path.substr(0, at).c_str(), 0700) != 0 && errno != EEXIST) {
      const int error = errno;
      struct stat info = {};  // a parent that exists may answer EACCES or EROFS
      if (stat(path.substr(0, at).c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return error;
    }
    if (at == std::string::npos) return 0;
  }
}

// The environment holds tiers as a comma-separated list.
void refuse_comma(const std::string& source, const std::string& path) {
  if (path.find(',') != std::string::npos)
    throw Failure(fmt::format("{}: '{}': a tier's path must not contain a comma", source, path));
}

}  // namespace

void describe_medium(const std::string& path, Tier* tier) {
  struct statfs info = {};
  if (statfs(path.c_str(), &info) != 0) return;
  tier->free = Bytes{static_cast<uint64_t>(info.f_bavail) * static_cast<uint64_t>(info.f_bsize)};
  const auto magic = static_cast<uint64_t>(info.f_type) & 0xffffffff;
  tier->file_system = fmt::format("{:#x}", magic);
  for (const auto& known : kKnown)
    if (known.magic == magic) {
      tier->file_system = known.name;
      tier->medium = known.medium;
    }
}

Tier open_tier(const std::string& text, const std::string& source) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string path = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (colon != std::string::npos && (kind == "dax" || kind == "numa"))
    throw Failure(
        fmt::format("{}: '{}': tiers of kind {} are not in this version; use file:PATH (a directory on a fast disk, "
                    "or on a DAX file system)",
                    source, text, kind));
  if (kind != "file" || path.empty())
    throw Failure(fmt::format("{}: '{}' is not a tier: say file:PATH, for example file:/scratch/me", source, text));
  refuse_comma(source, path);

  struct stat info = {};
  if (stat(path.c_str(), &info) != 0)
    throw Failure(fmt::format("{}: {}: {}; make the directory first: mkdir -p -m 700 {}", source, path,
                              error_text(errno), shell_quoted(path)));
  Tier tier;
  tier.path = real_path(path);
  if (!S_ISDIR(info.st_mode)) tier.path.resize(std::max<size_t>(tier.path.rfind('/'), 1));
  refuse_comma(source, tier.path);
  check_tier(source, &tier);
  return tier;
}

TierEnvironment tier_environment_here() {
  const char* home = std::getenv("HOME");
  if (!home || !*home) {
    const passwd* user = getpwuid(geteuid());
    home = user ? user->pw_dir : nullptr;
  }
  return {std::getenv("SLURM_JOB_ID"), std::getenv("TMPDIR"), std::getenv("XDG_CACHE_HOME"), home};
}

std::string default_tier_path(const TierEnvironment& environment, unsigned user) {
  const auto absolute = [](const char* path) { return path && path[0] == '/'; };
  // Many sites give all jobs the same TMPDIR: the name keeps users apart.
  if (environment.slurm_job_id && absolute(environment.tmpdir))
    return fmt::format("{}/ebbtide-{}", environment.tmpdir, user);
  if (absolute(environment.xdg_cache_home)) return fmt::format("{}/ebbtide", environment.xdg_cache_home);
  if (absolute(environment.home)) return fmt::format("{}/.cache/ebbtide", environment.home);
  return "";
}

Tier open_default_tier(const std::string& path) {
  const std::string hint = "name a tier yourself: --slow file:DIRECTORY";
  if (path.empty()) throw Failure("no directory for a default tier: HOME is not set; " + hint);
  if (path.find(',') != std::string::npos)
    throw Failure(fmt::format("the default tier {} has a comma in its path; {}", path, hint));
  Tier tier;
  struct stat info = {};
  tier.created = stat(path.c_str(), &info) != 0;
  if (const int error = make_private_folders(path))
    throw Failure(fmt::format("cannot make the default tier {}: {}; {}", path, error_text(error), hint));
  if (stat(path.c_str(), &info) != 0 || info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)))
    throw Failure(
        fmt::format("the default tier {} belongs to someone else or can be written by others; {}", path, hint));
  tier.path = real_path(path);
  check_tier("default tier", &tier);
  return tier;
}

std::vector<std::string> tier_warnings(const Tier& tier, Bytes budget) {
  std::vector<std::string> warnings;
  if (tier.medium == TierMedium::kMemory)
    warnings.push_back(
        fmt::format("the tier {} is on {}: what is evicted there stays in DRAM (and counts for a memory "
                    "cgroup); fine for tests, no gain otherwise",
                    tier.path, tier.file_system));
  if (tier.medium == TierMedium::kNetwork)
    warnings.push_back(fmt::format("the tier {} is on {}: every page would cross the network; a local disk is better",
                                   tier.path, tier.file_system));
  if (tier.free < std::max(kLittleSpace, Bytes{budget.count / 4}))
    warnings.push_back(fmt::format("the tier {} has only {} free: the job cannot grow much beyond its budget of {}",
                                   tier.path, readable(tier.free), readable(budget)));
  return warnings;
}

}  // namespace ebb::tools
