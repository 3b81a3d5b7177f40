// Threads that stand still: see thread_stop.h.
#include "snapshot/thread_stop.h"

#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;
using tools::SystemFiles;

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::microseconds kLook{50};
// The numbers that the kernel takes for the size of a set of signals; glibc's sigset_t is larger.
constexpr uint64_t kKernelSetSize = 8;

// glibc's takes its arguments as they come, so they must be as wide as pointers.
bool trace(__ptrace_request request, pid_t thread, uintptr_t address, uintptr_t data) {
  return ptrace(request, thread, address, data) == 0;
}

uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }

// The kernel's own threads for io_uring are listed with the program's, but run no code of it. Linux 6.18 lets them be
// stopped, and then the pager waits for ever for what they write; older kernels refuse.
bool is_io_worker(pid_t thread) {
  constexpr size_t kFlags = 6;
  constexpr uint64_t kIoWorker = 0x10;
  const auto words = stat_words(fmt::format("/proc/{}", thread));
  return words.size() > kFlags && (std::strtoull(words[kFlags].c_str(), nullptr, 10) & kIoWorker) != 0;
}

bool is_our_child(pid_t process) {
  return SystemFiles().field(fmt::format("/proc/{}/status", process), "PPid") == std::to_string(getpid());
}

}  // namespace

void ThreadStop::stop(pid_t process, pid_t except) {
  for (;;) {
    // All are told before any is waited for.
    std::vector<pid_t> fresh;
    for (const auto& name : SystemFiles().names(fmt::format("/proc/{}/task", process))) {
      const auto thread = static_cast<pid_t>(tools::parse_number(name).value_or(0));
      if (thread > 0 && thread != except && threads_.count(thread) == 0 && seize(process, thread))
        fresh.push_back(thread);
    }
    if (fresh.empty()) return;
    for (const pid_t thread : fresh)
      if (!await_stop(thread)) threads_.erase(thread);
  }
}

// False when there is nothing to stop.
bool ThreadStop::seize(pid_t process, pid_t thread) {
  if (is_io_worker(thread)) return false;
  if (!trace(PTRACE_SEIZE, thread, 0, death_ == AtOurDeath::kDie ? PTRACE_O_EXITKILL : 0)) {
    const int error = errno;
    if (has_ended(thread)) return false;
    throw Failure(fmt::format("cannot stop thread {} of process {} ({}): {}", thread, process, process_name(process),
                              error_text(error)));
  }
  threads_[thread] = {process, 0};
  trace(PTRACE_INTERRUPT, thread, 0, 0);  // fails for one that has just ended, as await_stop() will see
  return true;
}

// False when it ended instead.
bool ThreadStop::await_stop(pid_t thread) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    int status = 0;
    const pid_t found = waitpid(thread, &status, __WALL | WNOHANG);
    if (found == thread) {
      if (!WIFSTOPPED(status)) return false;
      // Else a stop of ours or of the whole process.
      if (status >> 16 != PTRACE_EVENT_STOP) threads_[thread].signal = WSTOPSIG(status);
      return true;
    }
    if (found < 0 && errno != EINTR) return false;
    // The first thread of a process ends without a word while there are others.
    if (thread == threads_[thread].process && has_ended(thread)) return false;
    if (std::chrono::steady_clock::now() > until)
      throw Failure(fmt::format("thread {} of process {} does not stop: it waits in the kernel; try again later",
                                thread, threads_[thread].process));
    std::this_thread::sleep_for(kLook);
  }
}

void ThreadStop::end_group_stop(pid_t process) {
  // A SIGSTOP that a thread was about to take is over, too.
  pid_t taker = 0;
  for (auto& [id, thread] : threads_) {
    if (thread.process != process) continue;
    if (thread.signal == SIGSTOP) thread.signal = 0;
    if (thread.signal == 0) taker = id;
  }
  kill(process, SIGCONT);
  if (taker == 0) return;  // all are about to take other signals: one of them will see this one, too
  // With all others blocked for one thread, it can take nothing but this, and does so before any instruction of the
  // program. It stays in that stop; let_go() drops the signal.
  uint64_t mask = 0;
  const uint64_t only = ~bit(SIGCONT);
  if (!trace(PTRACE_GETSIGMASK, taker, kKernelSetSize, reinterpret_cast<uintptr_t>(&mask)) ||
      !trace(PTRACE_SETSIGMASK, taker, kKernelSetSize, reinterpret_cast<uintptr_t>(&only)))
    return;  // killed meanwhile
  int signal = 0;
  while (signal != SIGCONT) {
    threads_[taker].signal = 0;
    if (!trace(PTRACE_CONT, taker, 0, 0) || !await_stop(taker)) return;
    signal = threads_[taker].signal;
  }
  threads_[taker].signal = 0;
  trace(PTRACE_SETSIGMASK, taker, kKernelSetSize, reinterpret_cast<uintptr_t>(&mask));
}

void ThreadStop::let_go(pid_t thread) {
  const auto at = threads_.find(thread);
  if (at == threads_.end()) return;
  const Thread held = at->second;
  threads_.erase(at);
  if (trace(PTRACE_DETACH, thread, 0, held.signal)) return;
  // It was killed, and who traces a thread has to see its end before its parent can, and before the process as a whole
  // ends. The end of our own child is for others here to see.
  if (thread == held.process && is_our_child(thread)) return;
  while (waitpid(thread, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

void ThreadStop::let_all_go() {
  // The first thread of a process ends last.
  std::vector<pid_t> first, others;
  for (const auto& [id, thread] : threads_) (id == thread.process ? first : others).push_back(id);
  for (const auto& list : {others, first})
    for (const pid_t thread : list) let_go(thread);
}

}  // namespace ebb::snapshot
