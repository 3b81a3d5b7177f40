// What of the heaps' files cannot be linked to a snapshot's folder is copied there while the job runs: the processes
// find it when they name their files, and have only what is newer left to copy while they stand still.
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "snapshot/fd.h"
#include "snapshot/job_pages.h"
#include "snapshot/progress.h"

namespace ebb::snapshot {

// Copies what the processes have sealed and could not link; how much. They have written ahead (Freeze::kClean). Failure
// when it cannot be written. What a process that ends meanwhile had may be left out. `originals` gets what was copied:
// the processes close it while they stand still, and whoever closes a file last that has no name waits until its space
// is free, seconds for some GiB.
Bytes copy_layers(const std::vector<PagedProcess>& processes, const std::string& folder, const Progress& progress,
                  std::vector<Fd>* originals);

}  // namespace ebb::snapshot
