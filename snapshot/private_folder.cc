// A clone's temporary directory: see private_folder.h.
#include "snapshot/private_folder.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>

#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;

constexpr char kSource[] = "ebbtide-clone";  // how our mounts are known
constexpr char kSaved[] = "/temporary.tar";

void make_folder(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    throw Failure(fmt::format("cannot make {}: {}", path, error_text(errno)));
}

// tar, with everything that an overlay's upper folder says by special files and attributes.
void tar(const char* direction, const std::string& file, const std::string& folder) {
  const char* words[] = {"tar",
                         direction,
                         "--sparse",
                         "--numeric-owner",
                         "--xattrs",
                         "--xattrs-include=*",
                         "--preserve-permissions",
                         "--file",
                         file.c_str(),
                         "--directory",
                         folder.c_str(),
                         ".",
                         nullptr};
  pid_t child = 0;
  const int error = posix_spawnp(&child, words[0], nullptr, nullptr, const_cast<char**>(words), environ);
  if (error != 0) throw Failure(fmt::format("cannot start tar: {}", error_text(error)));
  const int status = wait_for_end(child);
  if (status != 0) throw Failure(fmt::format("cannot {} {} with {}", direction + 2, folder, file));
}

// Blanks and backslashes in mountinfo are octal; the parser of mount options wants its own separators escaped.
std::string option(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ',' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// The upper folder of our mount over `folder`, or "".
std::string upper_folder(pid_t pid, const std::string& folder) {
  std::string found;
  for (const auto& line :
       tools::split(tools::SystemFiles().read(fmt::format("/proc/{}/mountinfo", pid)).value_or(""), '\n')) {
    const auto words = tools::split(line, ' ');  // the fifth is the place, the last the file system's options
    if (words.size() < 5 || words[4] != folder ||
        line.find(fmt::format(" - overlay {} ", kSource)) == std::string::npos)
      continue;
    for (const auto& word : tools::split(words.back(), ','))
      if (word.rfind("upperdir=", 0) == 0) found = word.substr(9);
  }
  return found;
}

}  // namespace

void mount_private_folder(const std::string& folder, const std::string& scratch, const std::string& images) {
  struct stat info = {};
  if (stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    throw Failure(fmt::format("the job's temporary directory {} is missing: make it", folder));
  const std::string upper = scratch + "/upper", work = scratch + "/work", saved = images + kSaved;
  make_folder(upper, 0700);
  make_folder(work, 0700);
  if (access(saved.c_str(), F_OK) == 0) tar("--extract", saved, upper);
  // The directory's own looks come from the upper folder.
  if (chown(upper.c_str(), info.st_uid, info.st_gid) != 0 || chmod(upper.c_str(), info.st_mode & 07777) != 0)
    throw Failure(fmt::format("cannot prepare {}: {}", upper, error_text(errno)));
  const std::string options =
      fmt::format("lowerdir={},upperdir={},workdir={}", option(folder), option(upper), option(work));
  if (mount(kSource, folder.c_str(), "overlay", 0, options.c_str()) != 0)
    throw Failure(
        fmt::format("cannot mount a private copy of {} (upper folder {}): {}", folder, upper, error_text(errno)));
}

bool has_private_folder(pid_t pid, const std::string& folder) { return !upper_folder(pid, folder).empty(); }

void save_private_folder(pid_t pid, const std::string& folder, const std::string& images) {
  const std::string upper = upper_folder(pid, folder);
  if (upper.empty()) return;
  tar("--create", images + kSaved, upper);
}

}  // namespace ebb::snapshot
