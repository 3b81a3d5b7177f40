// Nothing of a job stays behind that is half restored: see restore_guard.h.
#include "snapshot/restore_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;
using tools::Fd;
using tools::SystemFiles;

constexpr std::chrono::milliseconds kLook{2};

struct Seen {
  char state = '\0';
  pid_t parent = 0;
  uint64_t started = 0;  // ticks since boot
};

Seen look_at(pid_t pid) {
  constexpr size_t kState = 0, kParent = 1, kStarted = 19;
  const auto words = stat_words(fmt::format("/proc/{}", pid));
  if (words.size() <= kStarted) return {};
  return {words[kState][0], std::atoi(words[kParent].c_str()), std::strtoull(words[kStarted].c_str(), nullptr, 10)};
}

// CRIU, or a process that it has made and that is not yet one of the job.
bool is_criu(pid_t pid, const std::string& work) {
  const auto command = SystemFiles().read(fmt::format("/proc/{}/cmdline", pid)).value_or("");
  return command.find('\0' + work + '\0') != std::string::npos;
}

// What lives of the job: processes with its PIDs that are younger than `since` and children of `above` or of each
// other, and what is below them; and CRIU's own. Anybody may have been given one of these PIDs when CRIU could not get
// it.
std::set<pid_t> living(const std::vector<StoredProcess>& processes, const std::string& work, pid_t above,
                       uint64_t since) {
  std::map<pid_t, Seen> all;
  for (const auto& name : SystemFiles().names("/proc"))
    if (const auto pid = tools::parse_number(name)) {
      const Seen seen = look_at(static_cast<pid_t>(*pid));
      if (seen.state != '\0' && seen.state != 'Z' && seen.state != 'X' && seen.started >= since)
        all[static_cast<pid_t>(*pid)] = seen;
    }
  std::set<pid_t> out;
  for (const auto& process : processes)
    if (const auto at = all.find(process.pid); at != all.end() && at->second.parent == above) out.insert(process.pid);
  for (const auto& [pid, seen] : all)
    if (is_criu(pid, work)) out.insert(pid);
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, seen] : all)
      if (out.count(seen.parent) > 0) grown |= out.insert(pid).second;
  }
  return out;
}

// Until there are none: what was about to be made by one that is killed may still appear.
void end_all(const std::vector<StoredProcess>& processes, const std::string& work, pid_t above, uint64_t since) {
  for (auto left = living(processes, work, above, since); !left.empty(); left = living(processes, work, above, since)) {
    for (const pid_t pid : left) kill(pid, SIGKILL);
    std::this_thread::sleep_for(kLook);
  }
}

// Nobody else restores the same snapshot with these PIDs, or is ending what it left of it. Where the file cannot be
// locked, two restores at once end as they do: the PIDs of one are in use.
Fd lock_images(const std::string& images) {
  Fd file(open((images + "/pstree.img").c_str(), O_RDWR | O_CLOEXEC));
  while (file.valid() && flock(file.get(), LOCK_EX) != 0 && errno == EINTR) {
  }
  return file;
}

// Of the guard: nothing of ours stays open by it, but what it needs.
void keep_only(std::vector<int> wanted) {
  std::sort(wanted.begin(), wanted.end());
  unsigned from = 0;
  for (const int fd : wanted) {
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = static_cast<unsigned>(fd) + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

}  // namespace

RestoreGuard::RestoreGuard(const std::string& images, const std::vector<StoredProcess>& processes,
                           const std::string& work)
    : processes_(processes), work_(work) {
  if (getpid() == 1) return;  // with the first process of a namespace all others end
  lock_ = lock_images(images);
  // By the time that this one tells of our end, our children are others', and CRIU is killed.
  const Fd us(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  int ends[2];
  if (!us.valid() || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Failure(fmt::format("cannot watch over the restore: {}", error_text(errno)));
  Fd reading(ends[0]);
  release_.reset(ends[1]);
  guard_ = fork();
  if (guard_ < 0) throw Failure(fmt::format("cannot start a process: {}", error_text(errno)));
  if (guard_ > 0) {
    since_ = look_at(guard_).started;
    return;
  }
  setsid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  std::vector<int> wanted = {us.get(), reading.get()};
  if (lock_.valid()) wanted.push_back(lock_.get());
  keep_only(wanted);
  const uint64_t since = look_at(getpid()).started;
  pollfd both[] = {{reading.get(), POLLIN, 0}, {us.get(), POLLIN, 0}};
  char word = 0;
  for (;;) {
    poll(both, 2, -1);
    if (both[0].revents & POLLIN && read(reading.get(), &word, 1) == 1) _exit(0);
    if (both[1].revents & POLLIN) break;
    if (both[0].revents & (POLLIN | POLLHUP)) both[0].fd = -1;  // it ends, but not all of it has ended
  }
  end_all(processes_, work_, getppid(), since);
  std::error_code ignored;
  std::filesystem::remove_all(work_, ignored);
  _exit(0);
}

void RestoreGuard::end_half_restored() {
  end_all(processes_, work_, getpid(), since_);
  wait_for_end(processes_.at(0).pid);
}

void RestoreGuard::release() {
  if (guard_ <= 0) return;
  constexpr char kReleased = 'r';
  while (send(release_.get(), &kReleased, 1, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
  wait_for_end(guard_);
  guard_ = 0;
  lock_.reset();
}

}  // namespace ebb::snapshot
