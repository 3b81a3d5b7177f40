// Space on the file systems that a snapshot is written to: what it will take, and what to say when one is full.
#pragma once

#include <string>

#include "base/units.h"
#include "snapshot/job_pages.h"
#include "snapshot/process_tree.h"

namespace ebb::snapshot {

// What the job holds in memory that CRIU or the store will have to write, at most. What processes share since a fork is
// counted once where it is managed, else for each of them, as CRIU stores it.
Bytes bytes_to_write(const ProcessTree& tree, const JobPages& pages);

// "12.0 MiB free in FOLDER".
std::string free_space(const std::string& folder);

// Behind "No space left on device" of a process that writes its heap: which file systems that can be, and what is free
// there.
std::string full_where(const PagedProcess& process);

}  // namespace ebb::snapshot
