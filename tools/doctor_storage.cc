// `ebb doctor`: where cold pages can go: the default tier, DAX file systems and devices, shared memory.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/fd.h"
#include "tools/tier.h"

namespace ebb::tools {
namespace {

constexpr Bytes kLittleSpace{uint64_t{4} << 30};
constexpr char kNameTier[] = "name a tier yourself: ebb run --slow file:DIRECTORY (EBB_SLOW=file:DIRECTORY)";

// The nearest folder of `path` that exists: doctor looks, it does not make the tier.
std::string existing_part(std::string path) {
  struct stat info = {};
  while (path.size() > 1 && stat(path.c_str(), &info) != 0) path.resize(std::max<size_t>(path.rfind('/'), 1));
  return path;
}

// O_DIRECT of a page, written and read back from a file without a name. 0 or errno.
int try_direct_io(const std::string& folder) {
  const Fd file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600));
  if (!file.valid()) return errno;
  const std::unique_ptr<void, decltype(&std::free)> page(std::aligned_alloc(kPageSize, kPageSize), &std::free);
  std::fill_n(static_cast<char*>(page.get()), kPageSize, '\1');
  if (pwrite(file.get(), page.get(), kPageSize, 0) != static_cast<ssize_t>(kPageSize)) return errno;
  if (pread(file.get(), page.get(), kPageSize, 0) != static_cast<ssize_t>(kPageSize)) return errno;
  return 0;
}

void default_tier(Checks* checks, nlohmann::json* facts) {
  Check check{"default_tier", "default tier", Health::kOk, "", "runs without --slow", kNameTier};
  const std::string path = default_tier_path(tier_environment_here(), geteuid());
  if (path.empty()) {
    check.health = Health::kWarn;
    check.detail = "no directory: HOME is not set";
    checks->push_back(std::move(check));
    return;
  }
  Tier tier;
  tier.path = existing_part(path);
  describe_medium(tier.path, &tier);
  (*facts)["default_tier_path"] = path;
  (*facts)["default_tier_file_system"] = tier.file_system;
  (*facts)["default_tier_free_bytes"] = tier.free.count;
  check.detail = fmt::format("{} on {}, {} free", path, tier.file_system, readable(tier.free));
  if (access(tier.path.c_str(), W_OK | X_OK) != 0) {
    check.health = Health::kWarn;
    check.detail += fmt::format("; cannot write to {}: {}", tier.path, error_text(errno));
  } else if (tier.medium == TierMedium::kMemory) {
    check.health = Health::kWarn;
    check.lost = "the gain: what is evicted to this file system stays in DRAM";
  } else if (tier.medium == TierMedium::kNetwork) {
    check.health = Health::kWarn;
    check.lost = "speed: every page would cross the network";
  } else if (tier.free < kLittleSpace) {
    check.health = Health::kWarn;
    check.lost = "room: a job cannot grow far beyond its budget";
  }
  checks->push_back(std::move(check));

  const int error = try_direct_io(tier.path);
  (*facts)["default_tier_direct_io"] = error == 0;
  Check direct{"direct_io", "direct I/O", Health::kOk, "works on the default tier", "", ""};
  if (error != 0) {
    direct.health = Health::kWarn;
    direct.detail = fmt::format("not on the default tier: {}", error_text(error));
    direct.lost = "speed, and DRAM for the page cache's copies";
    direct.mend = "use a directory on ext4, xfs or btrfs: " + std::string(kNameTier);
  }
  checks->push_back(std::move(direct));
}

Check dax(const SystemFiles& files) {
  std::vector<std::string> found;
  for (const auto& mount : files.mounts())
    if (mount.has_option("dax") || mount.has_option("dax=always"))
      found.push_back(mount.point + " (" + mount.type + ")");
  for (const auto& name : files.names("/sys/bus/dax/devices")) found.push_back("/dev/" + name);
  return {"dax",       "DAX",
          Health::kOk, found.empty() ? "no persistent memory in sight" : fmt::format("{}", fmt::join(found, ", ")),
          "",          ""};
}

Check shared_memory() {
  Check check{"dev_shm",
              "/dev/shm",
              Health::kOk,
              "",
              "programs that use POSIX shared memory, and the tests' memory tier",
              "mount -t tmpfs tmpfs /dev/shm; containers: docker run --shm-size 12g"};
  Tier shm;
  describe_medium("/dev/shm", &shm);
  check.detail = fmt::format("{}, {} free", shm.file_system.empty() ? "missing" : shm.file_system, readable(shm.free));
  if (access("/dev/shm", W_OK | X_OK) != 0 || shm.free < Bytes{uint64_t{64} << 20}) check.health = Health::kWarn;
  return check;
}

}  // namespace

void check_storage(const SystemFiles& files, Checks* checks, nlohmann::json* facts) {
  default_tier(checks, facts);
  checks->push_back(dax(files));
  checks->push_back(shared_memory());
}

}  // namespace ebb::tools
