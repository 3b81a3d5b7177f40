// The control pages (runtime/job/control.h) of the jobs that a process tree belongs to, and what is asked of the pagers
// there: docs/snapshots-criu.md has the protocol.
#pragma once

#include <sys/types.h>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "job/control.h"
#include "snapshot/fd.h"
#include "snapshot/process_tree.h"

namespace ebb::snapshot {

// One page, mapped. The file is opened once only: closing any other descriptor of it would drop our lock.
class ControlPage {
 public:
  // nullptr when what `path` leads to is no page of this version.
  static std::unique_ptr<ControlPage> open(const std::string& path);
  ~ControlPage();
  ControlPage(const ControlPage&) = delete;
  ControlPage& operator=(const ControlPage&) = delete;

  JobControl& control() { return *control_; }
  // Whether the owner of this slot lives and still runs the program that took it.
  bool has_owner(unsigned slot) const;
  // False when another tool has it. Held until the page is closed or unlocked.
  bool lock();
  void unlock();

 private:
  ControlPage(Fd file, JobControl* control) : file_(std::move(file)), control_(control) {}

  Fd file_;
  JobControl* control_;
};

// A process that is paged, and its slot.
struct PagedProcess {
  pid_t pid = 0;  // as this process sees it
  ControlPage* page = nullptr;
  unsigned slot = 0;
  bool owned = false;  // it holds the lock on its slot; CRIU brings none back

  JobFreeze& freeze() const { return page->control().freeze[slot]; }
};

// "process 12 (R)"
std::string told(const PagedProcess& process);

class JobPages {
 public:
  // Looks for paged processes among `pids` that are not known yet, and locks their pages. Those that are new. Failure
  // when another tool freezes or restores one of these jobs.
  std::vector<PagedProcess> find(const std::vector<pid_t>& pids);
  struct Found {
    ProcessTree tree;
    std::vector<PagedProcess> fresh;
  };
  // The same in the tree below `root`, until no process there has what a pager has but none that would answer, as
  // between a fork and the start of its pager or between a vfork and its exec, and none is half gone. Gives up after
  // 2 s: a program may have a userfaultfd or an io_uring of its own, or have ended its first thread.
  Found find_below(pid_t root);
  const std::vector<PagedProcess>& processes() const { return processes_; }
  std::vector<pid_t> pids() const;
  // A process that has ended, or does not run its program any more.
  void forget(pid_t pid);
  // Waits until they have all gone on from what a tool asked that died. Failure when they do not.
  void wait_for_recovery();

  // Where the files of the heap are or are to be. Failure when the path is too long.
  void set_folder(const std::string& folder);
  // Leaves a line for the report of each of the jobs.
  void post(std::string_view text);

 private:
  void take(ControlPage* page);

  std::map<std::pair<dev_t, ino_t>, std::unique_ptr<ControlPage>> pages_;  // nullptr: no page of this version
  std::vector<ControlPage*> locked_;
  std::vector<PagedProcess> processes_;
  std::string folder_;
};

// Asks for a step; the answer is to be waited for. Of one that is gone nothing is asked: its slot may have a new owner.
void ask(const PagedProcess& process, Freeze step);
// Asks for nothing any more, for the next one to find it so.
void finish(const PagedProcess& process);

enum class Answer { kDone, kGone };  // kGone: the process ended or runs another program
// Waits for the answer, calling `look` every 100 ms. Failure when the process could not do it, or is stopped.
Answer await(const PagedProcess& process, Freeze step, const std::function<void()>& look = {});

// A copy of a descriptor of another process; invalid, with errno, when it has none of that number or has ended.
Fd descriptor_of(pid_t pid, int number);

// The thread of the pager as this process sees it; 0 when there is none.
pid_t pager_thread(const PagedProcess& process);

}  // namespace ebb::snapshot
