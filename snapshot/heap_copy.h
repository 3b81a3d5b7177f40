// What of the heaps' files cannot be linked to a snapshot's folder is copied there while the job runs: the processes
// find it when they name their files, and have only what is newer left to copy while they stand still.
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "snapshot/job_pages.h"
#include "snapshot/progress.h"

namespace ebb::snapshot {

// Copies what the processes have sealed and could not link; how much. They have written ahead (Freeze::kClean). Failure
// when it cannot be written. What a process that ends meanwhile had may be left out.
Bytes copy_layers(const std::vector<PagedProcess>& processes, const std::string& folder, const Progress& progress);

}  // namespace ebb::snapshot
