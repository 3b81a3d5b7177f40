// Nothing of a job stays behind that is half restored: neither when CRIU fails or is killed, nor when the restoring
// process is.
//
// CRIU leaves the processes that it has made so far, waiting for each other for ever, when it is killed itself; and a
// job with sealed heaps is stopped from CRIU's end until it has taken them back. So a process of its own watches the
// restoring one until the job runs, and ends what there is of it otherwise: the snapshot is still there. And CRIU has
// children of its own, some of which stop themselves and would stay so for ever.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/image.h"
#include "tools/fd.h"

namespace ebb::snapshot {

class RestoreGuard {
 public:
  // `processes` are to be restored as descendants of this process, from `images`, by a CRIU that has `work` among its
  // arguments, a folder that goes with this process. Waits until no other process restores them or ends what it left.
  // Failure when there can be no guard.
  RestoreGuard(const std::string& images, const std::vector<StoredProcess>& processes, const std::string& work);
  ~RestoreGuard() { release(); }
  RestoreGuard(const RestoreGuard&) = delete;
  RestoreGuard& operator=(const RestoreGuard&) = delete;

  // Ends what there is of the job, after CRIU's end; the first process of the job is no child of ours afterwards.
  void end_half_restored();
  // The job runs, or there is nothing of it: whatever happens to this process is no business of the guard's any more.
  void release();

 private:
  std::vector<StoredProcess> processes_;
  std::string work_;
  tools::Fd lock_, release_;
  pid_t guard_ = 0;
  uint64_t since_ = 0;  // when the guard was started: all that is restored is younger
};

}  // namespace ebb::snapshot
