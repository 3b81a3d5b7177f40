// The world of one clone: see clone_space.h.
#include "tools/clone_space.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "job/clone_file.h"
#include "snapshot/criu.h"
#include "snapshot/image.h"
#include "snapshot/private_folder.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/standard_streams.h"
#include "tools/system_files.h"

namespace ebb::tools {
namespace {

constexpr char kRuns = 'r', kFailed = 'f';  // first letter of a report; then the PID inside, or the reason

void need(bool done, const char* what) {
  if (!done) throw Failure(fmt::format("{}: {}", what, error_text(errno)));
}

void write_file(const std::string& path, const std::string& text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  need(file.valid() && write_all(file.get(), text), path.c_str());
}

// CRIU and its helpers must not get PIDs that the job needs, nor may the job's next children.
void start_above(const std::string& images) {
  int highest = 0;
  for (const auto& process : snapshot::stored_processes(images))
    for (const int thread : process.threads) highest = std::max(highest, thread);
  constexpr int kMargin = 1000;
  const auto limit = SystemFiles().number("/proc/sys/kernel/pid_max").value_or(32768);
  if (highest + 2 * kMargin < limit) write_file("/proc/sys/kernel/ns_last_pid", std::to_string(highest + kMargin));
}

void enter_terminal(int terminal) {
  need(setsid() >= 0, "cannot start a session");
  if (terminal >= 0) need(ioctl(terminal, TIOCSCTTY, 0) == 0, "cannot take the pseudo terminal");
}

pid_t restore_inside(const CloneSpace& space) {
  need(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "cannot make mounts private");
  setenv("TMPDIR", space.scratch.c_str(), 1);  // for CRIU's logs, which are to be found from outside
  snapshot::mount_private_folder(space.job.temporary_directory, space.scratch, space.images);
  need(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0, "cannot mount /proc");
  write_file(fmt::format("{}/{}", space.job.temporary_directory, kCloneFile), space.description + "\n");
  write_file(fmt::format("{}/{}", space.job.temporary_directory, kCloneArguments), space.arguments);
  enter_terminal(space.terminal);
  start_above(space.images);

  auto request = snapshot::restore_request(space.images, space.job);
  request.prefetch = false;
  request.terminal = space.terminal;
  StandardStreams streams(space.job, space.input, space.output, space.error);
  if (space.own_streams) streams.replace_output_files(space.job, space.output);
  request.files.unchecked = check_files(space.images, space.force, space.job, space.own_streams);
  request.inherited = streams.inherited();
  if (space.terminal >= 0) request.before_it_runs = [&](pid_t root) { tcsetpgrp(space.terminal, getpgid(root)); };
  return snapshot::restore(request).root;
}

// The first process of a PID namespace gets all orphans.
int reap_until(pid_t root) {
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0 && errno != EINTR) return kExitOurs;
    if (pid == root) return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

[[noreturn]] void be_first(const CloneSpace& space, Fd report) {
  pid_t root = 0;
  std::string text;
  try {
    root = restore_inside(space);
    text = kRuns + std::to_string(root);
  } catch (const std::exception& e) {
    text = kFailed + std::string(e.what());
  }
  write_all(report.get(), text);
  shutdown(report.get(), SHUT_WR);
  if (root == 0) _exit(kExitOurs);
  // The terminal hangs up when the job has closed it.
  for (const int fd : {space.input, space.output, space.error, space.terminal})
    if (fd > STDERR_FILENO) close(fd);
  // Until whoever asked for the clone has found it, even if it ended at once.
  char none;
  while (read(report.get(), &none, 1) < 0 && errno == EINTR) {
  }
  _exit(reap_until(root));
}

}  // namespace

StartedClone start_clone(const CloneSpace& space) {
  int ends[2];
  need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "cannot make a socket");
  StartedClone clone;
  clone.report.reset(ends[0]);
  Fd writing(ends[1]);
  const long child = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, nullptr,
                             nullptr, nullptr, nullptr);
  if (child < 0)
    throw Failure(fmt::format("cannot make namespaces for a clone: {}{}; see: ebb doctor", error_text(errno),
                              errno == EPERM ? ": it takes root or CAP_SYS_ADMIN" : ""));
  if (child == 0) be_first(space, std::move(writing));
  clone.first = static_cast<pid_t>(child);
  return clone;
}

pid_t wait_clone(const StartedClone& clone) {
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(clone.report.get(), part, sizeof(part))) != 0;)
    if (n > 0)
      text.append(part, static_cast<size_t>(n));
    else if (errno != EINTR)
      break;
  if (text.empty()) throw Failure("the clone's first process was killed");
  if (text[0] == kFailed) throw Failure(text.substr(1));
  const auto inside = parse_number(text.substr(1)).value_or(0);
  const std::string children = fmt::format("/proc/{0}/task/{0}/children", clone.first);
  for (const auto& word : split(SystemFiles().read(children).value_or(""), ' ')) {
    const auto pid = static_cast<pid_t>(parse_number(word).value_or(0));
    const auto pids = snapshot::namespace_pids(pid);
    if (pids.empty() || pids.back() != inside) continue;
    // Not by closing it: clones that were started later hold copies.
    shutdown(clone.report.get(), SHUT_RDWR);
    return pid;
  }
  throw Failure("the clone's first process was killed");
}

}  // namespace ebb::tools
