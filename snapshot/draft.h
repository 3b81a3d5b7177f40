// A snapshot that is being made.
#pragma once

#include <sys/stat.h>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/fd.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/root_folder.h"

namespace ebb::snapshot {

enum class Durability {
  kCreated,    // at once: sizes are recorded, nothing waits for the disk
  kPersisted,  // checksums, and everything fsynced before it counts
};

// A folder ".draft-TAG-RANDOM" of mode 0700 in the root. The destructor removes it unless it was published, and what
// it has replaced then; what a process that died has left is removed by Catalogue::sweep(). Movable; for one thread.
class Draft {
 public:
  // By Catalogue::begin(). `parent_in_use` keeps the parent from being removed, or is invalid.
  Draft(std::shared_ptr<const RootFolder> root, std::string tag, bool replace, Fd parent_in_use);
  Draft(Draft&&) noexcept = default;
  Draft& operator=(Draft&&) = delete;
  ~Draft();

  const std::string& tag() const { return tag_; }
  std::filesystem::path directory() const { return root_->path() / name_; }
  std::filesystem::path images() const { return directory() / "images"; }  // for CRIU's images
  std::filesystem::path heap() const { return directory() / "heap"; }      // for sealed heap files
  std::filesystem::path log() const { return directory() / "log"; }  // for logs of making it; part of the snapshot
  // Filled in by the maker; identity, time, machine and parent are set already, files are set by publish().
  Manifest& manifest() { return manifest_; }

  // `in_use`, with an exclusive flock, is that of what publish() will replace: nobody begins to use it from now on.
  void keep_users_out(Fd in_use) { replaced_in_use_ = std::move(in_use); }

  // publish() is to fail unless the files have these paths, sizes and, where it computes them, checksums.
  void expect(std::vector<FileRecord> files) { expected_ = std::move(files); }

  // Sets all modes, records every file and makes the snapshot appear under its tag, all of it or not at all. Everything
  // in the folder must be closed for writing. SnapshotError otherwise; the draft is as before then. Once only.
  // What is persisted has a parent that is: the caller sees to that (Catalogue::persist()). As long as what is returned
  // is open the snapshot is in use: nobody removes or replaces it.
  Fd publish(Durability durability = Durability::kCreated, const Progress& progress = {});
  // Removes what publish() has replaced, if anything: it is no snapshot any more, and its files may be large, so this
  // is for when nobody waits. The destructor tries it, too; failing that, Catalogue::sweep() does it.
  void remove_replaced();

 private:
  void record_files();
  void compare_with_expected() const;
  // Under its tag. The draft's name is free afterwards, or it is that of what was replaced (replaced_in_use_).
  void appear();

  std::shared_ptr<const RootFolder> root_;
  std::string tag_;
  std::string name_;      // of the folder; "" once it is published
  std::string replaced_;  // of the folder of what was replaced; "" when there is nothing to remove
  bool replace_;
  Fd parent_in_use_;
  Fd in_use_;           // an exclusive flock says that the maker lives
  Fd replaced_in_use_;  // keeps out new users of what was replaced
  Fd folder_;
  Manifest manifest_;
  std::optional<std::vector<FileRecord>> expected_;
};

// What publishing and persisting share. `folder` is the snapshot's.

// The checksum of a file that is known already; nothing where it has to be read.
using KnownChecksum = std::function<std::optional<std::string>(const FileRecord& record, const struct stat& info)>;

// Makes each file of the manifest durable, and its checksum known. SnapshotError when one has not the size it should
// have.
void persist_files(int folder, Manifest* manifest, const Progress& progress, const KnownChecksum& known = {});
// fsync of the folder and all folders in it.
void sync_folders(int folder);

// Who keeps the snapshot `tag` from being removed: "snapshot b", "process 12 (R)". Empty: nobody, and `*in_use`
// (invalid where the snapshot has no such file) keeps out new users as long as it lives; it may do so already. Under
// lock_names().
std::vector<std::string> who_needs(const RootFolder& root, const std::string& tag, Fd* in_use);

}  // namespace ebb::snapshot
