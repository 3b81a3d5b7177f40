// The job's control page (runtime/job/control.h) as `ebb run` sees it: made before the program starts, read after it.
#pragma once

#include <sys/types.h>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "job/control.h"
#include "tools/fd.h"

namespace ebb::tools {

// Plain copies of what the page held at one time.
struct JobCounts {
  uint64_t budget = 0, peak_charged = 0, peak_managed = 0, peak_need = 0, peak_own = 0, peak_store = 0;
  uint64_t evicted = 0, written = 0, cleaned = 0, loaded = 0, returned = 0, zeroed = 0;
  uint64_t faults = 0, stall_ns = 0, pager_cpu_ns = 0;
  uint64_t read_errors = 0, write_errors = 0, bad_pages = 0, over_budget = 0;
  uint64_t processes = 0, paged_processes = 0;
  uint64_t messages_posted = 0;  // how many there ever were; the page keeps the first few
  std::vector<std::string> messages;
  bool errors() const { return read_errors + write_errors + bad_pages > 0; }
};

class JobPage {
 public:
  // A new page with this budget, gone with its last holder. Failure when the kernel refuses.
  explicit JobPage(Bytes budget);
  ~JobPage();
  JobPage(const JobPage&) = delete;
  JobPage& operator=(const JobPage&) = delete;

  // For EBB_JOB. Other processes open our descriptor through /proc, so it may close on exec.
  std::string path() const;
  JobControl* control() { return control_; }
  JobCounts read() const;
  // Processes of the job that still hold a slot: after the command ended, these outlive it.
  std::vector<pid_t> members() const;

 private:
  Fd file_;
  JobControl* control_ = nullptr;
};

// How the line begins that `ebb snapshot` leaves for the report of a job that it ends.
inline constexpr std::string_view kFrozen = "frozen into the snapshot ";

// Leaves a line for the report of the job whose page is at `path` (EBB_JOB of one of its processes); nothing when that
// is no page of this version.
void tell_job(const std::string& path, std::string_view text);

// What the other jobs on this node whose pages we may read were promised and have not taken yet.
struct Promises {
  Bytes bytes{};
  unsigned jobs = 0;
};
Promises other_promises();

}  // namespace ebb::tools
