// CRIU's folder for its logs and statistics: see work_folder.h.
#include "snapshot/work_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "snapshot/files.h"
#include "tools/console.h"

namespace ebb::snapshot {
namespace {

constexpr std::string_view kWorking = "ebb-criu.", kKept = "ebb-criu-log.";

std::string base_folder() {
  const char* base = std::getenv("TMPDIR");
  return base && *base == '/' ? base : "/tmp";
}

Fd open_folder(const std::string& path) {
  return Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Whether this is still what the path leads to: another process may have taken it for one that nobody has.
bool take(const Fd& folder, const std::string& path) {
  while (flock(folder.get(), LOCK_EX) != 0)
    if (errno != EINTR) return true;  // a file system without locks: nobody removes it
  return is_file_at(AT_FDCWD, path, folder.get());
}

void remove_abandoned(const std::string& base) {
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(base, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (at->path().filename().string().rfind(kWorking, 0) != 0) continue;
    const Fd folder = open_folder(at->path());
    struct stat info = {};
    if (!folder.valid() || fstat(folder.get(), &info) != 0 || info.st_uid != geteuid() ||
        !try_lock(folder.get(), LOCK_EX))
      continue;
    std::error_code left;
    std::filesystem::remove_all(at->path(), left);
  }
}

}  // namespace

WorkFolder::WorkFolder() {
  const std::string base = base_folder();
  remove_abandoned(base);
  do {
    path_ = fmt::format("{}/{}XXXXXX", base, kWorking);
    if (!mkdtemp(path_.data()))
      throw tools::Failure(fmt::format("cannot make a folder {}: {}", path_, tools::error_text(errno)));
    folder_ = open_folder(path_);
    if (!folder_.valid() && errno != ENOENT)
      throw tools::Failure(fmt::format("cannot open {}: {}", path_, tools::error_text(errno)));
  } while (!folder_.valid() || !take(folder_, path_));
}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  if (!kept_) std::filesystem::remove_all(path_, ignored);
}

void WorkFolder::keep() {
  std::string name = path_;
  name.replace(name.rfind(kWorking), kWorking.size(), kKept);
  if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) == 0) path_ = name;
  kept_ = true;
}

}  // namespace ebb::snapshot
