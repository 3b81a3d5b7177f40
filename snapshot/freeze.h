// Sealing the heaps of paged processes before CRIU stores the job, and having them taken back: docs/snapshots-criu.md
// has the steps. A job without paged processes passes through here untouched.
#pragma once

#include <sys/types.h>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/fd.h"
#include "snapshot/job_pages.h"
#include "snapshot/progress.h"
#include "snapshot/thread_stop.h"

namespace ebb::snapshot {

// Times in microseconds.
struct FreezeStatistics {
  std::optional<std::chrono::steady_clock::time_point> stopped;  // when threads were stopped for the first time
  uint64_t clean_us = 0;                                         // writing and copying ahead; the job ran
  uint64_t hold_us = 0;                                          // mapping calls and forks waited
  uint64_t seal_us = 0;                                          // threads stood still
  uint64_t free_us = 0;                                          // the job ran, but for its mapping calls
  uint64_t resume_us = 0;  // threads stood still again, for the heaps to be taken back
};

// Whatever happens: with the object, no process stays sealed or waits for us, unless the job is let end.
class HeapFreeze {
 public:
  // Keeps references. `pages` knows the paged processes of the tree below `root`.
  HeapFreeze(JobPages& pages, pid_t root) : pages_(pages), root_(root) {}
  ~HeapFreeze();
  HeapFreeze(const HeapFreeze&) = delete;
  HeapFreeze& operator=(const HeapFreeze&) = delete;

  // Has all heaps sealed with their files in `folder`, those that are not yet; the job runs again afterwards, but the
  // mapping calls of its paged processes wait. Failure with the reason: the job goes on as if nothing had been.
  void seal(const std::string& folder, const Progress& progress);
  // The folder is to be found there from now on.
  void moved_to(const std::string& folder) { pages_.set_folder(folder); }
  // Has all heaps taken back from the folder. Failure with the reason.
  void resume();
  // The job has ended.
  void let_end() { stages_.clear(); }

  const FreezeStatistics& statistics() const { return statistics_; }

 private:
  enum class Stage { kAsked, kSealed };  // what has to be undone: by kAbort, by kResume
  void seal_known(const std::string& folder, const Progress& progress);
  std::vector<PagedProcess> started_since();
  void write_ahead(const std::string& folder, const Progress& progress);
  std::vector<PagedProcess> ask_for(Freeze step, std::vector<PagedProcess> processes, const Progress& progress);
  std::vector<PagedProcess> ask_all(Freeze step, std::vector<PagedProcess> processes,
                                    const std::function<void()>& look = {});
  std::vector<PagedProcess> hold(const std::vector<PagedProcess>& processes, const std::string& folder,
                                 const Progress& progress);
  void seal_together(const std::vector<PagedProcess>& processes);
  void drop(pid_t pid);
  void stop_threads(const PagedProcess& process);
  std::vector<PagedProcess> seal_stopped(const std::vector<PagedProcess>& processes);
  void resume_sealed();
  void abort_asked();

  JobPages& pages_;
  pid_t root_;
  ThreadStop stop_;
  std::vector<Fd> originals_;  // of copied files, to be closed when the job runs again
  std::map<pid_t, Stage> stages_;
  FreezeStatistics statistics_;
};

// Of a tree that CRIU has restored and left stopped: its paged processes take their heaps back from `folder`, then all
// go on. `pids` are all processes that are to run, `paged` those of them that are sealed. Failure with the reason; if
// this process dies, the tree dies, too. `prefetch`: what was in DRAM is brought back ahead of need.
void thaw(const std::vector<pid_t>& pids, const std::vector<pid_t>& paged, const std::string& folder, bool prefetch);

}  // namespace ebb::snapshot
