// The snapshots of a user: what there is, in which state, and what may be removed.
//
// A snapshot is a folder that appears and disappears by one rename. Data is durable before the manifest that names it,
// and that before the rename which makes it count; after a crash at any point there is the old state or the new one.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/draft.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/prune.h"
#include "snapshot/root_folder.h"
#include "snapshot/state.h"

namespace ebb::snapshot {

// A snapshot that cannot be removed while this lives: a shared flock on its `in-use` is held.
struct HeldSnapshot {
  Snapshot snapshot;
  Fd in_use;  // close-on-exec; who hands it on to a process that lives on keeps the snapshot, too

  // Tells who persists it that a job comes back from it just now: Pace::kGivesWay.
  void mark_restore() const;
};

// Of what reads a whole snapshot in the background. kGivesWay: a job that comes back from it needs the device for its
// first answers, so it waits for a while, and others may remove the snapshot meanwhile.
enum class Pace { kAtOnce, kGivesWay };

// Several threads and processes may use the same root at once; one Catalogue may be used by several threads.
class Catalogue {
 public:
  // Opens the root, or makes it: see RootFolder for what is refused.
  explicit Catalogue(const std::filesystem::path& root, Foreign foreign = Foreign::kRefuse);

  const std::filesystem::path& root() const { return root_->path(); }

  // All snapshots and drafts, oldest first. Looks at manifests, sizes and modes, not at contents. Never fails because
  // of one snapshot: that one is in State::kError with a reason.
  std::vector<Snapshot> list() const;
  // SnapshotError names similar tags when there is none of this name.
  Snapshot find(const std::string& tag) const;

  // Waits until nobody uses the snapshot, and keeps new users out as long as what is returned is open; invalid where
  // there is no such snapshot. For Draft::keep_users_out().
  Fd wait_for_users(const std::string& tag) const;
  // Starts a snapshot. With `replace`, publishing takes the place of an existing one of the same tag, else an existing
  // one is a SnapshotError. The parent must be whole; it is held until the draft is published.
  Draft begin(const std::string& tag, const std::optional<std::string>& parent_tag = {}, bool replace = false) const;
  // Makes a created snapshot, and first its parents, survive a power failure, by checksums and fsync; nothing to do
  // when it is persisted. `made`, of Draft::publish(), is closed when the snapshot is in use by this call.
  void persist(const std::string& tag, const Progress& progress = {}, Pace pace = Pace::kAtOnce, Fd made = {}) const;
  // Removes a snapshot. SnapshotError when others build on it or it is in use: it names them.
  void remove(const std::string& tag) const;
  // Removes by `policy`, or with `dry_run` only says what would be. One decision for each snapshot, children first.
  std::vector<PruneDecision> prune(const PrunePolicy& policy, bool dry_run) const;
  // Removes the drafts and half-written manifests whose maker is dead; the names.
  std::vector<std::string> sweep() const;

  // Checks that `tag` is ours (Foreign::kAllow: root may take another user's), that nobody else can write to any of it
  // and that it is whole, with CRIU's images as their checksums say, and holds it. SnapshotError with the reason
  // otherwise. The content of all of it is checked by verify().
  HeldSnapshot open_for_restore(const std::string& tag) const;
  // Who keeps the snapshot from being removed: "snapshot b", "process 12 (R)". Empty: nobody.
  std::vector<std::string> users_of(const Snapshot& snapshot) const;

 private:
  // Who only asks for users keeps others out for a moment, who replaces it as long as the new one takes.
  HeldSnapshot hold(const std::string& tag, std::chrono::milliseconds patience = std::chrono::seconds(1)) const;
  // When a job came back from it last, or when it was begun, by the file system's clock; the epoch without a snapshot.
  std::chrono::system_clock::time_point last_restore(const std::string& tag) const;
  class GiveWay;

  std::shared_ptr<const RootFolder> root_;
  Foreign foreign_;
};

}  // namespace ebb::snapshot
