// A snapshot as it is found on disk: see state.h.
#include "snapshot/state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "snapshot/error.h"
#include "snapshot/files.h"

namespace ebb::snapshot {
namespace {

// What is wrong with the files of a readable manifest, or "".
std::string files_reason(const Manifest& manifest, const std::vector<FoundFile>& found) {
  std::map<std::string, const FoundFile*> by_path;
  for (const auto& file : found) by_path[file.path] = &file;
  for (const auto& record : manifest.files) {
    const auto at = by_path.find(record.path);
    if (at == by_path.end()) return fmt::format("{} is missing", record.path);
    if (!S_ISREG(at->second->info.st_mode)) return fmt::format("{} is not a regular file", record.path);
    if (at->second->size() != record.size)
      return fmt::format("{} has {} bytes instead of {}", record.path, at->second->size().count, record.size.count);
  }
  return "";
}

void judge(const std::vector<FoundFile>& found, int folder, Snapshot* out) {
  out->state = State::kError;
  out->manifest = parse_manifest(read_text(folder, kManifestName, kLargestManifest));
  if (out->manifest->tag != out->tag) {
    out->reason = fmt::format("the folder was renamed by hand: it was {}", out->manifest->tag);
    return;
  }
  out->reason = files_reason(*out->manifest, found);
  if (!out->reason.empty()) return;
  if (out->manifest->persisted) {
    out->state = State::kPersisted;
  } else if (out->manifest->boot_id != boot_id_here()) {
    out->reason = "it was not persisted before the machine went down, so its files may be damaged: remove it";
  } else {
    out->state = State::kCreated;
  }
}

void add_sizes(const std::vector<FoundFile>& found, Snapshot* out) {
  for (const auto& file : found) {
    if (!S_ISREG(file.info.st_mode)) continue;
    out->size += file.size();
    out->allocated += file.allocated();
  }
}

std::optional<Snapshot> look(const RootFolder& root, const std::string& name, const std::string& tag, bool draft) {
  const Fd folder = open_beneath(root.fd(), name, O_RDONLY | O_DIRECTORY);
  if (!folder.valid() && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return std::nullopt;
  Snapshot out;
  out.tag = tag;
  out.directory = root.path() / name;
  if (!folder.valid()) {
    out.state = State::kError;
    out.reason = std::strerror(errno);
    return out;
  }
  try {
    const auto found = walk(folder.get());
    add_sizes(found, &out);
    if (!draft) judge(found, folder.get(), &out);
  } catch (const SnapshotError& e) {
    out.state = draft ? State::kIncomplete : State::kError;
    out.reason = e.what();
  }
  return out;
}

std::string name_of_process(long pid) {
  std::string name;
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::getline(in, name);
  return name.empty() ? fmt::format("process {}", pid) : fmt::format("process {} ({})", pid, name);
}

}  // namespace

const char* word(State state) {
  switch (state) {
    case State::kIncomplete:
      return "Incomplete";
    case State::kCreated:
      return "Created";
    case State::kPersisted:
      return "Persisted";
    case State::kError:
      return "Error";
  }
  return "";
}

std::optional<Snapshot> look_at(const RootFolder& root, const std::string& tag) { return look(root, tag, tag, false); }

std::optional<Snapshot> look_at_draft(const RootFolder& root, const std::string& name) {
  auto out = look(root, name, tag_of_draft(name), true);
  if (!out || !out->reason.empty()) return out;
  const Fd in_use = open_beneath(root.fd(), name + "/" + kInUseName, O_RDONLY);
  const bool left_over = !in_use.valid() || try_lock(in_use.get(), LOCK_EX);
  const auto makers = holders_of(root, name);
  out->reason = left_over        ? "left over: ebb snapshots prune removes it"
                : makers.empty() ? "being made or removed"
                                 : fmt::format("being made or removed by {}", makers[0]);
  return out;
}

std::vector<std::string> holders_of(const RootFolder& root, const std::string& name) {
  struct stat info = {};
  if (fstatat(root.fd(), (name + "/" + kInUseName).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
  const std::string inode = fmt::format(":{}", info.st_ino);
  std::vector<std::string> out;
  std::ifstream in("/proc/locks");
  for (std::string line; std::getline(in, line);) {
    // 1: FLOCK  ADVISORY  READ 1234 fe:00:5678 0 EOF
    std::istringstream words(line);
    std::string number, kind, advisory, access, file;
    long pid = 0;
    if (!(words >> number >> kind >> advisory >> access >> pid >> file) || kind != "FLOCK") continue;
    // The device is not compared: on btrfs and overlayfs the lock's is another than stat's.
    if (file.size() > inode.size() && file.compare(file.size() - inode.size(), inode.size(), inode) == 0)
      out.push_back(name_of_process(pid));
  }
  return out;
}

}  // namespace ebb::snapshot
