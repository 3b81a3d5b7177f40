// One snapshot as it is found on disk, and its state.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/root_folder.h"

namespace ebb::snapshot {

enum class State {
  kIncomplete,  // a draft: being made, or left over
  kCreated,     // can be restored now; lost at a power failure
  kPersisted,   // survives one
  kError,       // cannot be restored; the reason is beside it
};
const char* word(State state);

// A plain value, true when it was read.
struct Snapshot {
  std::string tag;
  std::filesystem::path directory;
  State state = State::kIncomplete;
  std::string reason;                // of kError and kIncomplete
  std::optional<Manifest> manifest;  // none where it cannot be read
  Bytes size{};                      // of the files that are there
  Bytes allocated{};                 // what they take on disk
};

// The snapshot in the folder `tag` of `root`; nothing when there is none. Looks at sizes, not at contents, and at no
// other snapshot. Never throws because of what is in the folder.
std::optional<Snapshot> look_at(const RootFolder& root, const std::string& tag);
// The draft in the folder `name`.
std::optional<Snapshot> look_at_draft(const RootFolder& root, const std::string& name);

// The processes that hold an flock on `in-use` in the folder `name`, as /proc/locks tells: "process 12 (R)".
std::vector<std::string> holders_of(const RootFolder& root, const std::string& name);

struct Problem {
  std::string file;  // relative to the snapshot's folder
  std::string what;  // "missing", "its checksum differs", ...
};

// Compares a snapshot with its manifest: every file's presence, kind, size, mode, owner and, where it is known,
// checksum; the manifest itself; and that there is nothing else. Without problems, and persisted, no byte of it has
// changed.
std::vector<Problem> verify(const Snapshot& snapshot, const Progress& progress = {});

// Which file of CRIU's is not what its checksum says, in one line; "" when none is, or there are no checksums yet. For
// a restore: nobody else would notice. Of the heap's files each page is checked when it is needed.
std::string damage_of_images(int folder, const Manifest& manifest);

}  // namespace ebb::snapshot
