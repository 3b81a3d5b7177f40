// The user's snapshots, as the commands that freeze, restore and clone jobs see them.
#pragma once

#include <functional>
#include <string>

#include "snapshot/catalogue.h"

namespace ebb::tools {

// The catalogue in the usual place ($EBB_SNAPSHOTS, or below the user's data folder). SnapshotError with the reason.
snapshot::Catalogue user_catalogue();

// Whether there is a snapshot of this name, in whatever state.
bool has_snapshot(const std::string& tag);

// A name for a snapshot of something called `name` that was given none: with the time, and not in use yet.
std::string fresh_tag(const std::string& name);

// The snapshot `tag` to restore from, whole and ours; it cannot be removed while the result lives. SnapshotError
// otherwise. Who persists it in the background gives way for a while.
snapshot::HeldSnapshot snapshot_to_restore(const std::string& tag);
// The job runs, and all of the snapshot has been read; its first answers are still to come.
void let_go_restored(snapshot::HeldSnapshot* held);
// The folder of its images.
std::string images_of(const snapshot::HeldSnapshot& held);

// Calls `act` and turns a SnapshotError into a Failure.
int with_snapshot_errors(const std::function<int()>& act);

}  // namespace ebb::tools
