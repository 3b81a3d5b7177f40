// The user's snapshots: see snapshot_place.h.
#include "tools/snapshot_place.h"

#include "snapshot/error.h"
#include "tools/console.h"

namespace ebb::tools {

snapshot::Catalogue user_catalogue() {
  return snapshot::Catalogue(snapshot::default_root(snapshot::root_environment_here()));
}

bool has_snapshot(const std::string& tag) {
  std::error_code error;
  return std::filesystem::exists(std::filesystem::symlink_status(user_catalogue().root() / tag, error));
}

snapshot::HeldSnapshot snapshot_to_restore(const std::string& tag) { return user_catalogue().open_for_restore(tag); }

std::string images_of(const snapshot::HeldSnapshot& held) { return held.snapshot.directory / "images"; }

int with_snapshot_errors(const std::function<int()>& act) {
  try {
    return act();
  } catch (const snapshot::SnapshotError& e) {
    throw Failure(e.what());
  }
}

}  // namespace ebb::tools
