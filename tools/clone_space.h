// The world of one clone: namespaces of its own, and in them a first process of ours that restores the job and ends
// with its exit code.
#pragma once

#include <sys/types.h>
#include <string>

#include "snapshot/job_record.h"
#include "tools/fd.h"

namespace ebb::tools {

struct CloneSpace {
  std::string images;
  snapshot::JobRecord job;
  int number = 1;
  std::string description;  // JSON: what the clone is told about itself
  std::string arguments;    // the same for the library: "NAME=VALUE" with a NUL behind each
  std::string scratch;      // folder of its own, outside of the job's temporary directory
  bool force = false;
  bool own_streams = false;  // `output` takes the place of files that the job wrote its output to
  int input = -1, output = -1, error = -1;
  int terminal = -1;  // the slave of a pseudo terminal of its own, or -1
};

// Where a clone finds its description.
inline constexpr char kCloneFile[] = ".ebb-clone.json";  // in the job's temporary directory

struct StartedClone {
  pid_t first = 0;  // our child; ends with the job's exit code, or 128 + signal
  Fd report;        // for wait_clone
};

// Begins to restore. Failure when the kernel gives no namespaces. The process must have one thread.
StartedClone start_clone(const CloneSpace& space);
// Waits until the clone runs, once for each clone: its root's PID outside. Failure with the reason when it does not
// come to life.
pid_t wait_clone(const StartedClone& clone);

}  // namespace ebb::tools
