// Driving CRIU: finding it, asking what it can do here, and having it store and restore process trees.
//
// The command `criu` is run, not linked: its options are its stable interface, and a crash of it is not ours. It never
// sees what is preloaded into our programs. Its log and statistics go to a working folder, so that the images' folder
// holds nothing but what a restore needs. docs/snapshots-criu.md says which options are used, and why.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "snapshot/image.h"

namespace ebb::snapshot {

struct CriuFacts {
  std::string path;     // "" when there is none
  std::string version;  // "4.1.1", or "" when it does not start
  std::string trouble;  // why it cannot work here, in one line; "" when `criu check` is content
};

// $EBB_CRIU; the one that `./dev setup snapshot` put beside this executable (in a build tree and an installation);
// PATH.
// "" when there is none.
std::string find_criu();
// Starts it twice, some 100 ms: its version, and `criu check`.
CriuFacts probe_criu();

// Failure that names the privilege when this process has not what CRIU needs. Better asked for before a job is touched.
void require_privilege();

// Times in microseconds.
struct DumpStatistics {
  uint64_t freezing_us = 0;  // until all tasks stood still
  uint64_t frozen_us = 0;    // that they stood still
  uint64_t memdump_us = 0;
  uint64_t memwrite_us = 0;
  uint64_t pages_written = 0;
};
struct RestoreStatistics {
  uint64_t forking_us = 0;
  uint64_t restore_us = 0;
  uint64_t pages_restored = 0;
};

struct DumpRequest {
  pid_t root = 0;      // as this process sees it; it may be in PID and mount namespaces of its own
  std::string images;  // an existing folder of mode 0700
  bool leave_running = false;
  bool tcp_established = false;
  // Called once all of the tree stands still and the images are complete (not synced). When it throws, the tree goes on
  // as if nothing had been and the exception comes out of dump(). When this process dies, the tree goes on as well.
  std::function<void()> on_frozen;
  // Called when what kept CRIU from storing the tree passes by itself, as a process that is met while it ends; whether
  // to try again. What it throws comes out of dump(). May be empty.
  std::function<bool()> again;
};

// Stores the tree, which ends unless it is left running. Signals of the terminal do not reach CRIU meanwhile: it would
// be caught with the job half taken apart. Failure: one line with the cause and the log's path; the tree goes on.
DumpStatistics dump(const DumpRequest& request);

// "fd[N]:WHAT": our descriptor takes the place of WHAT ("pipe:[12]", "path/without/first/slash") in the tree.
struct Inherited {
  int descriptor = -1;  // ours to keep
  std::string what;
};

struct RestoreRequest {
  std::string images;
  std::vector<Inherited> inherited;
  int terminal = -1;  // what the job's terminal becomes, ours to keep; -1: the job has none
  bool tcp_established = false;
  FileEdits files;           // what the job finds otherwise than it was
  std::vector<pid_t> paged;  // processes whose heaps are sealed: they take them back before the job runs
  std::string heap;          // from this folder
  bool prefetch = true;      // and bring back what was in DRAM, ahead of need; many copies would do so all at once
  // Called when all of the tree is there and stands still. When it throws, so does restore(). May be empty.
  std::function<void(pid_t root)> before_it_runs;
};

struct JobRecord;
// What the record of the job says about it; the rest is the caller's. The heaps' folder is beside `images`.
RestoreRequest restore_request(const std::string& images, const JobRecord& job);

struct Restored {
  pid_t root = 0;  // a child of this process, running
  RestoreStatistics statistics;
};

// Restores the tree with its PIDs in this process's namespaces, session and process group. Failure as dump(), with
// nothing left of the tree.
Restored restore(const RestoreRequest& request);

// The words that a process was started with are those of a CRIU that restores for us.
bool is_restoring_criu(const std::vector<std::string>& words);

// When CRIU runs us as its action script: asks the dumping process (see DumpRequest::on_frozen) and tells CRIU by the
// exit code. -1 when we were not started by CRIU.
int action_script();

}  // namespace ebb::snapshot
