// The folder that holds a user's snapshots, and the proof that nobody else can change what is in it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/units.h"
#include "snapshot/fd.h"

namespace ebb::snapshot {

// The environment that decides where snapshots are; null where unset.
struct RootEnvironment {
  const char* ebb_snapshots;
  const char* xdg_data_home;
  const char* home;
};
RootEnvironment root_environment_here();
// $EBB_SNAPSHOTS, else $XDG_DATA_HOME/ebbtide/snapshots, else ~/.local/share/ebbtide/snapshots. Only the name.
// SnapshotError when EBB_SNAPSHOTS is not absolute, or when no directory is known.
std::filesystem::path default_root(const RootEnvironment& environment);

enum class Foreign {
  kRefuse,  // the root is ours
  kAllow,   // root (uid 0) may look into another user's
};

// An open root. Names in it:
//   TAG/                  a complete snapshot
//   .draft-TAG-RANDOM/    one that is being made or taken away; whoever does that holds an exclusive flock on in-use in
//   it .manifest-RANDOM      a manifest that is being written, locked by its writer .lock                 held
//   exclusively for each change of names
class RootFolder {
 public:
  // Makes the folder with mode 0700, and its parents, where they are missing. SnapshotError when it cannot be made,
  // when another user owns it, or when others can write to it or to a folder above (those with the sticky bit
  // excepted).
  explicit RootFolder(const std::filesystem::path& path, Foreign foreign = Foreign::kRefuse);

  int fd() const { return fd_.get(); }
  const std::filesystem::path& path() const { return path_; }  // absolute, without symbolic links
  // Waits for the right to change names, of all processes and threads; given back when the result is destroyed.
  Fd lock_names() const;
  // Whether a folder `name` is in it (symbolic links are none).
  bool has_folder(const std::string& name) const;
  // Renames within the root, over nothing; and changes two names in one step. Under lock_names(). SnapshotError
  // otherwise.
  void rename(const std::string& from, const std::string& to) const;
  void exchange(const std::string& a, const std::string& b) const;
  void sync() const;
  // A new name for a draft, ".draft-TAG-RANDOM".
  std::string draft_name(const std::string& tag) const;
  // Removes the folder or file and all in it; nothing there is no error. SnapshotError otherwise.
  void remove_all(const std::string& name) const;

 private:
  std::filesystem::path path_;
  Fd fd_;
};

inline constexpr char kDraftPrefix[] = ".draft-";
inline constexpr char kManifestPrefix[] = ".manifest-";
inline constexpr char kInUseName[] = "in-use";

// The tag in the name of a draft.
std::string tag_of_draft(std::string_view name);
// 1 to 100 letters, digits, '.', '_', '-'; the first a letter or digit.
bool is_tag(std::string_view text);
// SnapshotError unless is_tag().
void require_tag(std::string_view text);

// SnapshotError that names the directory, what is needed and what is free, when the file system of `folder` has not
// `needed` bytes for this user.
void check_space(const std::filesystem::path& folder, Bytes needed);

}  // namespace ebb::snapshot
