// Sealing heaps, and having them taken back: see freeze.h.
#include "snapshot/freeze.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <thread>

#include "snapshot/failure_point.h"
#include "snapshot/heap_copy.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/fd.h"

namespace ebb::snapshot {
namespace {

using tools::Failure;

uint64_t microseconds_of(const std::function<void()>& step) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  step();
  return static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now() - start).count());
}

// A process in a mount namespace of its own may find another folder under that path, or none.
void check_same_folder(const PagedProcess& process, const std::string& folder) {
  struct stat ours = {}, theirs = {};
  if (stat(folder.c_str(), &ours) != 0 ||
      stat(fmt::format("/proc/{}/root{}", process.pid, folder).c_str(), &theirs) != 0 || ours.st_dev != theirs.st_dev ||
      ours.st_ino != theirs.st_ino) {
    if (has_ended(process.pid)) return;
    throw Failure(fmt::format("{} cannot reach {}: give another folder by EBB_SNAPSHOTS", told(process), folder));
  }
  // It writes there itself, as who it is.
  struct stat own = {};
  if (stat(fmt::format("/proc/{}", process.pid).c_str(), &own) == 0 && own.st_uid != 0 && own.st_uid != ours.st_uid)
    throw Failure(
        fmt::format("{} is paged, runs as user {} and could not write its heap to {}, which belongs to user {}: "
                    "let user {} take the snapshot, with CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE",
                    told(process), own.st_uid, folder, ours.st_uid, own.st_uid));
}

// It could not answer; and where others are sealed, the restored job is stopped and continued as a whole.
void check_none_stopped(const std::vector<pid_t>& pids) {
  for (const pid_t pid : pids)
    if (process_state(pid) == 'T')
      throw Failure(
          fmt::format("process {0} ({1}) is stopped: continue it first: kill -CONT {0}", pid, process_name(pid)));
}

// Of steps that are all taken, whatever happens to some.
class FirstFailure {
 public:
  void of(const std::function<void()>& step) {
    try {
      step();
    } catch (const Failure&) {
      if (!failure_) failure_ = std::current_exception();
    }
  }
  void raise() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
};

// How long a process may take to end once its pager has ended, and how often it is looked at.
constexpr std::chrono::milliseconds kEndPatience{2000}, kEndLook{1};

// 0: the process has ended.
pid_t pager_of(const PagedProcess& process) {
  const auto until = std::chrono::steady_clock::now() + kEndPatience;
  for (;;) {
    const pid_t pager = pager_thread(process);
    if (pager != 0 || has_ended(process.pid)) return pager;
    if (std::chrono::steady_clock::now() > until)
      throw Failure(fmt::format("{} has no pager thread, but does not end: try again", told(process)));
    std::this_thread::sleep_for(kEndLook);
  }
}

void take_back_stopped(const std::vector<PagedProcess>& sealed) {
  ThreadStop stop(ThreadStop::AtOurDeath::kDie);
  FirstFailure failure;
  std::vector<PagedProcess> asked;
  for (const auto& process : sealed)
    failure.of([&] {
      stop.stop(process.pid, pager_of(process));
      process.freeze().prefetch.store(1);
      ask(process, Freeze::kResume);
      asked.push_back(process);
    });
  for (const auto& process : asked)
    failure.of([&] {
      if (await(process, Freeze::kResume) == Answer::kDone) finish(process);
    });
  stop.let_all_go();
  failure.raise();
}

// In a child that signals to this process's group or terminal do not reach, nor its end. Failure as the child's.
void in_own_process(const std::function<void()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(fmt::format("cannot make a pipe: {}", tools::error_text(errno)));
  tools::Fd reading(ends[0]), writing(ends[1]);
  const pid_t child = fork();
  if (child < 0) throw Failure(fmt::format("cannot start a process: {}", tools::error_text(errno)));
  if (child == 0) {
    setsid();
    std::string text;
    try {
      work();
    } catch (const std::exception& e) {
      text = e.what();
    }
    (void)tools::write_all(writing.get(), text);
    _exit(0);
  }
  writing.reset();
  std::string text;
  char part[256];
  for (ssize_t n; (n = read(reading.get(), part, sizeof part)) > 0 || (n < 0 && errno == EINTR);)
    if (n > 0) text.append(part, static_cast<size_t>(n));
  const int status = wait_for_end(child);
  if (text.empty() && status != 0) text = "the process that takes the heaps back was killed, and the job with it";
  if (!text.empty()) throw Failure(text);
}

}  // namespace

HeapFreeze::~HeapFreeze() {
  try {
    resume_sealed();
  } catch (const std::exception& e) {  // without our lock they go on by themselves, as far as they can
    tools::Console(tools::Verbosity::kNormal).warn(e.what());
  }
  abort_asked();
}

void HeapFreeze::seal(const std::string& folder, const Progress& progress) {
  pages_.set_folder(folder);
  if (stages_.empty() && !pages_.processes().empty()) seal_known(folder, progress);
  // Who was not paged was not held: it may have begun to be, or started processes that are.
  for (auto fresh = started_since(); !fresh.empty(); fresh = started_since())
    seal_together(hold(fresh, folder, progress));
}

void HeapFreeze::seal_known(const std::string& folder, const Progress& progress) {
  check_none_stopped(read_tree(root_).pids);
  pages_.wait_for_recovery();
  for (const auto& process : pages_.processes()) check_same_folder(process, folder);
  statistics_.clean_us = microseconds_of([&] { write_ahead(folder, progress); });
  std::vector<PagedProcess> held;
  statistics_.hold_us = microseconds_of([&] {
    // Until all hold, they may start processes that are paged, too.
    held = ask_for(Freeze::kHold, pages_.processes(), progress);
    for (auto fresh = started_since(); !fresh.empty(); fresh = started_since())
      for (const auto& process : hold(fresh, folder, progress)) held.push_back(process);
  });
  seal_together(held);
}

std::vector<PagedProcess> HeapFreeze::hold(const std::vector<PagedProcess>& processes, const std::string& folder,
                                           const Progress& progress) {
  for (const auto& process : processes) check_same_folder(process, folder);
  return ask_for(Freeze::kHold, ask_for(Freeze::kClean, processes, progress), progress);
}

// Processes that hold. Afterwards they run again, but for their mapping calls.
void HeapFreeze::seal_together(const std::vector<PagedProcess>& processes) {
  if (!statistics_.stopped) statistics_.stopped = std::chrono::steady_clock::now();
  std::vector<PagedProcess> sealed;
  statistics_.seal_us += microseconds_of([&] {
    failure_point("stop");
    for (const auto& process : processes) stop_threads(process);
    failure_point("stopped");
    sealed = seal_stopped(processes);
    failure_point("let go");
    stop_.let_all_go();
  });
  // CRIU would store it, and wait for its end with the job stopped.
  statistics_.free_us += microseconds_of([&] { ask_all(Freeze::kFree, sealed); });
}

// Those that are paged and were not when it was last asked; known to `pages_` from now on.
std::vector<PagedProcess> HeapFreeze::started_since() { return pages_.find_below(root_).fresh; }

// Large copies take their time, in which the program writes.
void HeapFreeze::write_ahead(const std::string& folder, const Progress& progress) {
  constexpr Bytes kLittle{uint64_t{64} << 20};
  constexpr unsigned kMostRounds = 4;
  for (unsigned round = 0; round < kMostRounds; ++round) {
    ask_for(Freeze::kClean, pages_.processes(), progress);
    if (copy_layers(pages_.processes(), folder, progress, &originals_) <= kLittle) break;
  }
}

void HeapFreeze::resume() {
  if (stages_.empty()) return;
  statistics_.resume_us = microseconds_of([&] { resume_sealed(); });
}

// Those that have not ended, which is what all steps return. Copies of the list: `pages_` drops those that have.
std::vector<PagedProcess> HeapFreeze::ask_for(Freeze step, std::vector<PagedProcess> processes,
                                              const Progress& progress) {
  const auto look = [&] {
    Bytes done{}, todo{};
    for (const auto& process : processes) {
      done += Bytes{process.freeze().done.load(std::memory_order_relaxed)};
      todo += Bytes{process.freeze().todo.load(std::memory_order_relaxed)};
    }
    if (progress) progress("write", done, todo);
  };
  for (const auto& process : processes) stages_[process.pid] = Stage::kAsked;
  return ask_all(step, processes, look);
}

std::vector<PagedProcess> HeapFreeze::ask_all(Freeze step, std::vector<PagedProcess> processes,
                                              const std::function<void()>& look) {
  for (const auto& process : processes) {
    failure_point("ask");
    ask(process, step);
  }
  failure_point("await");
  std::vector<PagedProcess> there;
  for (const auto& process : processes)
    if (await(process, step, look) == Answer::kGone)
      drop(process.pid);
    else
      there.push_back(process);
  return there;
}

void HeapFreeze::drop(pid_t pid) {
  stages_.erase(pid);
  pages_.forget(pid);
}

void HeapFreeze::stop_threads(const PagedProcess& process) { stop_.stop(process.pid, pager_of(process)); }

// One that fails does not keep the others from answering: each is sealed or is not before anything is undone.
std::vector<PagedProcess> HeapFreeze::seal_stopped(const std::vector<PagedProcess>& processes) {
  FirstFailure failure;
  std::vector<PagedProcess> asked, sealed;
  for (const auto& process : processes)
    failure.of([&] {
      ask(process, Freeze::kSeal);
      failure_point("sealing");
      asked.push_back(process);
    });
  for (const auto& process : asked)
    failure.of([&] {
      if (await(process, Freeze::kSeal) == Answer::kGone) return drop(process.pid);
      stages_[process.pid] = Stage::kSealed;
      sealed.push_back(process);
    });
  failure.raise();
  return sealed;
}

// While memory is mapped anew, nobody else may run: were the threads let go because we were killed, they would read
// zeros. So a process of its own does it, which goes on when this one is gone; it is killed itself only together with
// the job.
void HeapFreeze::resume_sealed() {
  std::vector<PagedProcess> sealed;
  for (const auto& process : pages_.processes())
    if (const auto at = stages_.find(process.pid); at != stages_.end() && at->second == Stage::kSealed) {
      stages_.erase(at);
      sealed.push_back(process);
    }
  if (sealed.empty()) return;
  stop_.let_all_go();  // it may run as it is now; who is to stop it again cannot while we trace it
  failure_point("resume");
  in_own_process([&] { take_back_stopped(sealed); });
}

// Nothing can be done about one that does not answer: it goes on by itself when our lock is gone.
void HeapFreeze::abort_asked() {
  stop_.let_all_go();
  FirstFailure ignored;
  std::vector<PagedProcess> asked;
  for (const auto& process : pages_.processes())
    if (stages_.erase(process.pid) > 0)
      ignored.of([&] {
        ask(process, Freeze::kAbort);
        asked.push_back(process);
      });
  for (const auto& process : asked)
    ignored.of([&] {
      if (await(process, Freeze::kAbort) == Answer::kDone) finish(process);
    });
}

namespace {

void take_heaps_back(ThreadStop& stop, const std::vector<pid_t>& paged, const std::string& folder, bool prefetch) {
  JobPages pages;
  pages.set_folder(folder);
  const auto processes = pages.find(paged);
  if (processes.size() != paged.size())
    throw Failure("a process of the job came back without its control page: the snapshot cannot be restored here");
  for (const auto& process : processes) {
    stop.let_go(pager_thread(process));
    failure_point("take back");
    process.freeze().prefetch.store(prefetch ? 1 : 0);
    ask(process, Freeze::kResume);
  }
  for (const auto& process : processes) {
    if (await(process, Freeze::kResume) == Answer::kGone)
      throw Failure(fmt::format("{} was killed while it was restored", told(process)));
    finish(process);
  }
}

}  // namespace

void thaw(const std::vector<pid_t>& pids, const std::vector<pid_t>& paged, const std::string& folder, bool prefetch) {
  ThreadStop stop(ThreadStop::AtOurDeath::kDie);
  try {
    failure_point("stop restored");
    for (const pid_t pid : pids) stop.stop(pid);
    failure_point("restored ones stand still");
    for (const pid_t pid : pids) stop.end_group_stop(pid);
    if (process_state(pids.at(0)) == '\0') throw Failure("the job was killed while it was restored");
    take_heaps_back(stop, paged, folder, prefetch);
  } catch (...) {
    for (const pid_t pid : pids) kill(pid, SIGKILL);
    throw;
  }
}

}  // namespace ebb::snapshot
