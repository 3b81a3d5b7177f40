// The user's snapshots: see snapshot_place.h.
#include "tools/snapshot_place.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <algorithm>
#include <ctime>

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

std::string fresh_tag(const std::string& name) {
  constexpr size_t kLongestName = 60;  // the rest is for the time
  std::string base = name.substr(0, kLongestName);
  std::replace_if(
      base.begin(), base.end(), [](char c) { return !snapshot::is_tag(std::string(1, c)) && c != '.' && c != '_'; },
      '-');
  if (!snapshot::is_tag(base)) base = "job" + base;
  const std::string tag = fmt::format("{}-{:%Y%m%d-%H%M%S}", base, fmt::localtime(std::time(nullptr)));
  std::string free = tag;
  for (int number = 2; has_snapshot(free); ++number) free = fmt::format("{}-{}", tag, number);
  return free;
}

snapshot::HeldSnapshot snapshot_to_restore(const std::string& tag) {
  auto held = user_catalogue().open_for_restore(tag);
  held.mark_restore();
  return held;
}

void let_go_restored(snapshot::HeldSnapshot* held) {
  held->mark_restore();
  held->in_use.reset();
}

std::string images_of(const snapshot::HeldSnapshot& held) { return held.snapshot.directory / "images"; }

int with_snapshot_errors(const std::function<int()>& act) {
  try {
    return act();
  } catch (const snapshot::SnapshotError& e) {
    throw Failure(e.what());
  }
}

}  // namespace ebb::tools
