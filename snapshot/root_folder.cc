// The folder of the snapshots: see root_folder.h.
#include "snapshot/root_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "snapshot/error.h"
#include "snapshot/failure_point.h"
#include "snapshot/files.h"
#include "snapshot/format.h"

namespace ebb::snapshot {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestTag = 100;

bool others_can_write(const struct stat& info) { return (info.st_mode & (S_IWGRP | S_IWOTH)) != 0; }

// A folder above the root: whoever can rename in it can put another root in our place.
void check_parent(const fs::path& folder, Foreign foreign) {
  struct stat info = {};
  if (lstat(folder.c_str(), &info) != 0) fail_with_errno(folder.string(), errno);
  if (others_can_write(info) && !(info.st_mode & S_ISVTX))
    throw SnapshotError(
        fmt::format("others can write to {}, and so change the snapshots below it: chmod go-w it, or name "
                    "another directory (--root, EBB_SNAPSHOTS)",
                    folder.string()));
  if (info.st_uid != 0 && info.st_uid != geteuid() && foreign == Foreign::kRefuse)
    throw SnapshotError(
        fmt::format("{} belongs to user {}, who could change the snapshots below it: name another "
                    "directory (--root, EBB_SNAPSHOTS)",
                    folder.string(), info.st_uid));
}

void check_root(int fd, const fs::path& path, Foreign foreign) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) fail_with_errno(path.string(), errno);
  const bool admin = foreign == Foreign::kAllow && geteuid() == 0;
  if (info.st_uid != geteuid() && !admin)
    throw SnapshotError(
        fmt::format("the snapshots in {} belong to user {}, and you are user {}: name a directory of your "
                    "own (--root, EBB_SNAPSHOTS)",
                    path.string(), info.st_uid, geteuid()));
  if (others_can_write(info))
    throw SnapshotError(
        fmt::format("others can write to {}: chmod 700 it, if what is in it can be trusted", path.string()));
}

// mkdir -p with mode 0700.
void make_folders(const fs::path& path) {
  fs::path at;
  for (const auto& part : path) {
    at /= part;
    struct stat info = {};
    if (mkdir(at.c_str(), 0700) == 0 || errno == EEXIST) continue;
    const int error = errno;  // a parent that exists may answer EACCES or EROFS
    if (stat(at.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
      fail_with_errno(fmt::format("cannot make {}", at.string()), error);
  }
}

}  // namespace

RootEnvironment root_environment_here() {
  const char* home = std::getenv("HOME");
  if (!home || !*home) {
    const passwd* user = getpwuid(geteuid());
    home = user ? user->pw_dir : nullptr;
  }
  return {std::getenv("EBB_SNAPSHOTS"), std::getenv("XDG_DATA_HOME"), home};
}

fs::path default_root(const RootEnvironment& environment) {
  const auto absolute = [](const char* path) { return path && path[0] == '/'; };
  if (environment.ebb_snapshots && *environment.ebb_snapshots) {
    if (absolute(environment.ebb_snapshots)) return environment.ebb_snapshots;
    throw SnapshotError(
        fmt::format("EBB_SNAPSHOTS: '{}' is not an absolute path: write it from / on", environment.ebb_snapshots));
  }
  if (absolute(environment.xdg_data_home)) return fs::path(environment.xdg_data_home) / "ebbtide/snapshots";
  if (absolute(environment.home)) return fs::path(environment.home) / ".local/share/ebbtide/snapshots";
  throw SnapshotError("no directory for snapshots: HOME is not set; name one: --root, EBB_SNAPSHOTS");
}

RootFolder::RootFolder(const fs::path& path, Foreign foreign) {
  if (path.empty()) throw SnapshotError("the directory of the snapshots has an empty name");
  const fs::path wanted = fs::absolute(path).lexically_normal();
  make_folders(wanted);
  std::error_code error;
  path_ = fs::canonical(wanted, error);
  if (error) throw SnapshotError(fmt::format("{}: {}", wanted.string(), error.message()));
  fd_.reset(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd_.valid()) fail_with_errno(path_.string(), errno);
  check_root(fd_.get(), path_, foreign);
  for (fs::path folder = path_; folder.has_relative_path();) {
    folder = folder.parent_path();
    check_parent(folder, foreign);
  }
}

Fd RootFolder::lock_names() const {
  Fd file = open_beneath(fd(), ".lock", O_RDWR | O_CREAT, 0600);
  if (!file.valid()) fail_with_errno(fmt::format("cannot lock {}", path_.string()), errno);
  lock(file.get(), LOCK_EX, path_.string());
  return file;
}

bool RootFolder::has_folder(const std::string& name) const {
  struct stat info = {};
  return fstatat(fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
}

void RootFolder::rename(const std::string& from, const std::string& to) const {
  failure_point("rename");
  if (renameat2(fd(), from.c_str(), fd(), to.c_str(), RENAME_NOREPLACE) == 0) return;
  // Some network file systems know no flags. We hold the lock, so nobody of ours makes `to` meanwhile.
  if (errno == EINVAL && !has_folder(to) && renameat(fd(), from.c_str(), fd(), to.c_str()) == 0) return;
  fail_with_errno(fmt::format("cannot rename {} to {} in {}", from, to, path_.string()), errno);
}

void RootFolder::exchange(const std::string& a, const std::string& b) const {
  failure_point("exchange");
  if (renameat2(fd(), a.c_str(), fd(), b.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno == EINVAL)
    throw SnapshotError(
        fmt::format("the file system of {} cannot replace a snapshot at once: remove the old one first: "
                    "ebb snapshots rm {}",
                    path_.string(), b));
  fail_with_errno(fmt::format("cannot replace {} in {}", b, path_.string()), errno);
}

void RootFolder::sync() const {
  failure_point("sync root");
  sync_file(fd(), path_.string());
}

std::string RootFolder::draft_name(const std::string& tag) const {
  return fmt::format("{}{}-{}", kDraftPrefix, tag, random_hex(8));
}

void RootFolder::remove_all(const std::string& name) const {
  if (name.empty()) throw std::logic_error("the root itself is never removed");
  failure_point("remove");
  std::error_code error;
  fs::remove_all(path_ / name, error);
  if (error) throw SnapshotError(fmt::format("cannot remove {}: {}", (path_ / name).string(), error.message()));
}

std::string tag_of_draft(std::string_view name) {
  name.remove_prefix(sizeof kDraftPrefix - 1);
  return std::string(name.substr(0, name.rfind('-')));
}

bool is_tag(std::string_view text) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= kLongestTag && plain(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

void require_tag(std::string_view text) {
  if (is_tag(text)) return;
  throw SnapshotError(
      fmt::format("'{}' is not a tag: 1 to {} letters, digits, '.', '_' and '-', the first a letter or "
                  "digit",
                  text, kLongestTag));
}

void check_space(const fs::path& folder, Bytes needed) {
  struct statvfs info = {};
  if (statvfs(folder.c_str(), &info) != 0) fail_with_errno(folder.string(), errno);
  const Bytes free{uint64_t{info.f_bavail} * info.f_frsize};
  if (needed > free)
    throw SnapshotError(
        fmt::format("not enough space in {}: {} needed, {} free; remove snapshots (ebb snapshots prune) or "
                    "name another directory (--root, EBB_SNAPSHOTS)",
                    folder.string(), readable(needed), readable(free)));
}

}  // namespace ebb::snapshot
