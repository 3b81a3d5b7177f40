// Compares a snapshot with its manifest: see state.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "snapshot/checksum.h"
#include "snapshot/error.h"
#include "snapshot/files.h"
#include "snapshot/state.h"

namespace ebb::snapshot {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr mode_t kFileMode = 0600;

class Verifier {
 public:
  Verifier(int folder, const Manifest& manifest, const Progress& progress)
      : folder_(folder), manifest_(manifest), meter_(progress, "check", manifest.size()) {
    for (const auto& file : manifest.files) {
      records_[file.path] = &file;
      for (size_t at = file.path.find('/'); at != std::string::npos; at = file.path.find('/', at + 1))
        folders_.insert(file.path.substr(0, at));
    }
  }

  std::vector<Problem> run() {
    check_itself();
    std::set<std::string> seen;
    for (const auto& found : walk(folder_)) {
      seen.insert(found.path);
      check_rights(found.path, found.info);
      if (found.is_folder())
        check_folder(found.path);
      else if (!S_ISREG(found.info.st_mode))
        problem(found.path, "not a regular file");
      else
        check_file(found);
    }
    for (const auto& [path, record] : records_)
      if (!seen.count(path)) problem(path, "missing");
    if (!seen.count(kInUseName)) problem(kInUseName, "missing");
    return std::move(problems_);
  }

 private:
  void problem(const std::string& file, const std::string& what) { problems_.push_back({file, what}); }

  void check_itself() {
    struct stat info = {};
    if (fstat(folder_, &info) != 0) fail_with_errno("the snapshot's folder", errno);
    owner_ = info.st_uid;
    check_rights(".", info);
    if (owner_ != manifest_.owner_uid)
      problem(".", fmt::format("belongs to user {}, but user {} made it", owner_, manifest_.owner_uid));
  }

  void check_rights(const std::string& path, const struct stat& info) {
    const mode_t mode = info.st_mode & 07777;
    if (S_ISLNK(info.st_mode)) return;  // has no mode of its own, and is refused for what it is
    const mode_t allowed = S_ISDIR(info.st_mode) ? kFolderMode : kFileMode;
    if (mode & ~allowed) problem(path, fmt::format("its mode {:o} is wider than {:o}", mode, allowed));
    if (info.st_uid != owner_) problem(path, fmt::format("belongs to user {}", info.st_uid));
  }

  void check_folder(const std::string& path) {
    if (path != "images" && path != "heap" && path != "log" && !folders_.count(path))
      problem(path, "unexpected folder");
  }

  void check_file(const FoundFile& found) {
    if (found.path == kManifestName) return;  // it was parsed, and is its own witness
    if (found.path == kInUseName) {
      if (found.size().count != 0) problem(found.path, "should be empty");
      return;
    }
    const auto at = records_.find(found.path);
    if (at == records_.end()) return problem(found.path, "unexpected file");
    const FileRecord& record = *at->second;
    if (found.size() != record.size)
      return problem(found.path,
                     fmt::format("too {}: {} bytes instead of {}", found.size() < record.size ? "short" : "long",
                                 found.size().count, record.size.count));
    if (record.checksum) check_content(record);
  }

  void check_content(const FileRecord& record) {
    const Fd file = open_beneath(folder_, record.path, O_RDONLY | O_NONBLOCK);
    if (!file.valid()) return problem(record.path, fmt::format("cannot be read: {}", std::strerror(errno)));
    try {
      if (checksum_of_file(file.get(), record.size, record.path, &meter_) != *record.checksum)
        problem(record.path, "its checksum differs");
    } catch (const SnapshotError& e) {
      problem(record.path, e.what());
    }
  }

  int folder_;
  const Manifest& manifest_;
  Meter meter_;
  uid_t owner_ = 0;
  std::map<std::string, const FileRecord*> records_;
  std::set<std::string> folders_;  // that have to be there, since a file is below them
  std::vector<Problem> problems_;
};

}  // namespace

std::string damage_of_images(int folder, const Manifest& manifest) {
  const Progress nobody;
  Meter meter(nobody, "check", manifest.size());
  for (const auto& record : manifest.files) {
    if (!record.checksum || !record.path.starts_with("images/")) continue;
    const Fd file = open_beneath(folder, record.path, O_RDONLY | O_NONBLOCK);
    if (!file.valid()) fail_with_errno(record.path, errno);
    if (checksum_of_file(file.get(), record.size, record.path, &meter) != *record.checksum)
      return fmt::format("{} is damaged: its checksum differs from the manifest's", record.path);
  }
  return "";
}

std::vector<Problem> verify(const Snapshot& snapshot, const Progress& progress) {
  if (snapshot.state == State::kIncomplete) return {{".", "not complete: " + snapshot.reason}};
  // Of what is there now, not of what was read when it was found.
  const Fd folder(open(snapshot.directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) return {{".", std::strerror(errno)}};
  try {
    const Manifest manifest = parse_manifest(read_text(folder.get(), kManifestName, kLargestManifest));
    auto problems = Verifier(folder.get(), manifest, progress).run();
    if (manifest.tag != snapshot.tag) problems.push_back({".", "renamed by hand: it was " + manifest.tag});
    if (!manifest.persisted && manifest.boot_id != boot_id_here())
      problems.push_back({".", "it was not persisted before the machine went down, so its files may be damaged"});
    return problems;
  } catch (const SnapshotError& e) {
    return {{kManifestName, e.what()}};
  }
}

}  // namespace ebb::snapshot
