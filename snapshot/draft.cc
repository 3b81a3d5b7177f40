// A snapshot that is being made: see draft.h.
#include "snapshot/draft.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <algorithm>
#include <cerrno>

#include "snapshot/checksum.h"
#include "snapshot/error.h"
#include "snapshot/failure_point.h"
#include "snapshot/files.h"
#include "snapshot/format.h"
#include "snapshot/state.h"

namespace ebb::snapshot {
namespace {

void make_folder(int parent, const std::string& name) {
  if (mkdirat(parent, name.c_str(), 0700) != 0) fail_with_errno(fmt::format("cannot make {}", name), errno);
}

}  // namespace

Draft::Draft(std::shared_ptr<const RootFolder> root, std::string tag, bool replace, Fd parent_in_use)
    : root_(std::move(root)), tag_(std::move(tag)), replace_(replace), parent_in_use_(std::move(parent_in_use)) {
  manifest_.tag = tag_;
  describe_here(&manifest_);
  const Fd names = root_->lock_names();  // so that sweep() never sees it without its lock
  name_ = root_->draft_name(tag_);
  failure_point("make draft");
  make_folder(root_->fd(), name_);
  try {
    folder_ = open_beneath(root_->fd(), name_, O_RDONLY | O_DIRECTORY);
    if (!folder_.valid()) fail_with_errno(directory().string(), errno);
    in_use_ = open_beneath(folder_.get(), kInUseName, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!in_use_.valid()) fail_with_errno(fmt::format("cannot make files in {}", root_->path().string()), errno);
    lock(in_use_.get(), LOCK_EX, kInUseName);
    for (const char* name : {"images", "heap", "log"}) make_folder(folder_.get(), name);
  } catch (...) {
    root_->remove_all(name_);
    throw;
  }
}

Draft::~Draft() {
  if (!root_) return;
  try {
    if (!name_.empty()) root_->remove_all(name_);
    remove_replaced();
  } catch (const SnapshotError&) {
    // sweep() will try again, and `ebb snapshots ls` shows it until then.
  }
}

void Draft::record_files() {
  manifest_.files.clear();
  for (const auto& found : walk(folder_.get())) {
    if (!found.is_folder() && !S_ISREG(found.info.st_mode))
      throw SnapshotError(
          fmt::format("{}: neither a regular file nor a folder; a snapshot has only these", found.path));
    const Fd file =
        open_beneath(folder_.get(), found.path, O_RDONLY | O_NONBLOCK | (found.is_folder() ? O_DIRECTORY : 0));
    if (!file.valid() || fchmod(file.get(), found.is_folder() ? 0700 : 0600) != 0) fail_with_errno(found.path, errno);
    if (found.is_folder() || found.path == kInUseName || found.path == kManifestName) continue;
    manifest_.files.push_back({found.path, found.size(), found.allocated(), {}});
  }
  // walk() goes folder by folder, a manifest is sorted by the whole path.
  std::sort(manifest_.files.begin(), manifest_.files.end(),
            [](const FileRecord& a, const FileRecord& b) { return a.path < b.path; });
}

void Draft::compare_with_expected() const {
  if (!expected_) return;
  const auto& files = manifest_.files;
  if (files.size() != expected_->size()) throw SnapshotError("there are more or fewer files than there should be");
  for (size_t i = 0; i < files.size(); ++i) {
    const FileRecord& wanted = (*expected_)[i];
    if (files[i].path != wanted.path) throw SnapshotError(fmt::format("{} is not as it should be", files[i].path));
    if (files[i].size != wanted.size || (files[i].checksum && files[i].checksum != wanted.checksum))
      throw SnapshotError(fmt::format("{} is damaged: its checksum differs from the manifest's", wanted.path));
  }
}

Fd Draft::publish(Durability durability, const Progress& progress) {
  if (name_.empty()) throw std::logic_error("a draft is published once only");
  const bool durable = durability == Durability::kPersisted;
  failure_point("record files");
  record_files();
  if (durable) persist_files(folder_.get(), &manifest_, progress);
  manifest_.persisted = durable;
  compare_with_expected();
  failure_point("write manifest");
  const Fd file = open_beneath(folder_.get(), kManifestName, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file.valid()) fail_with_errno(kManifestName, errno);
  write_text(file.get(), manifest_text(manifest_), kManifestName);
  if (durable) {
    sync_file(file.get(), kManifestName);
    sync_folders(folder_.get());
  }
  appear();
  Fd in_use = std::move(in_use_);
  parent_in_use_.reset();
  if (durable) root_->sync();
  return in_use;
}

void Draft::remove_replaced() {
  if (replaced_.empty()) return;
  root_->remove_all(std::exchange(replaced_, ""));
  replaced_in_use_.reset();
}

void Draft::appear() {
  const Fd names = root_->lock_names();
  const auto share = [&] { lock(in_use_.get(), LOCK_SH, kInUseName); };  // for a moment nobody has it
  if (!root_->has_folder(tag_)) {
    share();
    root_->rename(name_, tag_);
    name_.clear();
    return;
  }
  if (!replace_)
    throw SnapshotError(fmt::format(
        "there is a snapshot {} already: choose another tag, or remove it: ebb snapshots rm {}", tag_, tag_));
  const auto needed_by = who_needs(*root_, tag_, &replaced_in_use_);
  if (!needed_by.empty()) {
    replaced_in_use_.reset();
    throw SnapshotError(
        fmt::format("cannot replace {}: {} needs it; choose another tag", tag_, fmt::join(needed_by, ", ")));
  }
  share();
  root_->exchange(name_, tag_);
  replaced_ = std::exchange(name_, "");
}

void persist_files(int folder, Manifest* manifest, const Progress& progress, const KnownChecksum& known) {
  Meter meter(progress, "persist", manifest->size());
  for (auto& record : manifest->files) {
    failure_point("persist file");
    const Fd file = open_beneath(folder, record.path, O_RDONLY | O_NONBLOCK);
    struct stat info = {};
    if (!file.valid() || fstat(file.get(), &info) != 0) fail_with_errno(record.path, errno);
    if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) != record.size.count)
      throw SnapshotError(fmt::format("{}: {} bytes instead of {}", record.path, info.st_size, record.size.count));
    sync_file(file.get(), record.path);
    record.checksum = known ? known(record, info) : std::nullopt;
    if (record.checksum)
      meter.add(record.size);
    else
      record.checksum = checksum_of_file(file.get(), record.size, record.path, &meter);
  }
}

void sync_folders(int folder) {
  for (const auto& found : walk(folder)) {
    if (!found.is_folder()) continue;
    const Fd below = open_beneath(folder, found.path, O_RDONLY | O_DIRECTORY);
    if (!below.valid()) fail_with_errno(found.path, errno);
    sync_file(below.get(), found.path);
  }
  failure_point("sync folder");
  sync_file(folder, "the snapshot's folder");
}

std::vector<std::string> who_needs(const RootFolder& root, const std::string& tag, Fd* in_use) {
  const auto wanted = look_at(root, tag);
  std::vector<std::string> out;
  for (const auto& name : names_in(root.fd())) {
    if (name == tag || !is_tag(name)) continue;
    const auto other = look_at(root, name);
    if (!other || !other->manifest || !other->manifest->parent_id) continue;
    const bool is_parent = wanted && wanted->manifest ? *other->manifest->parent_id == wanted->manifest->id
                                                      : other->manifest->parent_tag == tag;
    if (is_parent) out.push_back("snapshot " + name);
  }
  const std::string path = tag + "/" + kInUseName;
  if (in_use->valid() && is_file_at(root.fd(), path, in_use->get())) return out;
  *in_use = open_beneath(root.fd(), path, O_RDONLY);
  if (in_use->valid() && !try_lock(in_use->get(), LOCK_EX)) {
    const auto holders = holders_of(root, tag);
    out.insert(out.end(), holders.begin(), holders.end());
    if (holders.empty()) out.push_back("another process");
  }
  return out;
}

}  // namespace ebb::snapshot
