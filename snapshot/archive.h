// A snapshot as one tar file (pax, with holes), to carry to another machine.
//
// TAG/manifest.json comes first, then the files that it names, in its order. An archive is no more to be trusted than
// who made it: restoring a snapshot runs what is in it.
#pragma once

#include <optional>
#include <string>

#include "snapshot/catalogue.h"
#include "snapshot/progress.h"

namespace ebb::snapshot {

// Writes a persisted snapshot to `fd`, which needs not be seekable. The caller makes it durable. SnapshotError when the
// snapshot is not persisted, a file cannot be read, or `fd` takes no more.
void write_archive(const HeldSnapshot& held, int fd, const Progress& progress = {});

struct Imported {
  std::string tag;
  std::string missing_parent;  // the snapshot that has to be imported, too, before this one can be restored; or ""
};
// Reads an archive from `fd` into a draft, compares everything with the manifest in it, and publishes it as persisted
// under its own tag or `as`. Nothing is written but the files that the manifest names, up to the sizes that it names.
// SnapshotError, and no snapshot, otherwise.
Imported read_archive(const Catalogue& catalogue, int fd, const std::optional<std::string>& as,
                      const Progress& progress = {});

}  // namespace ebb::snapshot
