// Where a snapshot's images are.
#pragma once

#include <string>

namespace ebb::tools {

// The folder of the images of `tag`: $EBB_SNAPSHOTS/TAG/images, or TAG/images when the tag is a path (it holds a
// slash). With `create` it is made, mode 0700, and must be new. Failure with the reason.
std::string snapshot_images(const std::string& tag, bool create);
// Removes what snapshot_images made, when there will be no snapshot.
void drop_snapshot(const std::string& images);

}  // namespace ebb::tools
