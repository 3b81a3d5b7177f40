// Running the program as a child: see child.h.
//
// All signals that can be waited for are blocked while the program runs and taken one by one with sigwaitinfo, so there
// is no handler and no race with waitpid. The program gets the mask and dispositions that we were started with.
#include "tools/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include "tools/console.h"
#include "tools/fd.h"

namespace ebb::tools {
namespace {

sigset_t awaited_signals() {
  sigset_t set;
  sigfillset(&set);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&set, fault);
  return set;
}

// Where the session was made outside of our PID namespace, as happens in containers, the job could never be frozen. A
// terminal is worth more: its signals would not reach the job.
bool in_foreign_session() { return getsid(0) == 0 && !Fd(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)).valid(); }

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));  // exec does not write to them
  out.push_back(nullptr);
  return out;
}

// Terminal stops stop us as well, or the shell would wait for a job that sleeps. The stop is our own copy of the signal
// in its default meaning: the kernel then applies its rules (nothing stops in an orphaned process group). SIGSTOP is
// not mirrored: whoever stops the program alone may continue the program alone.
void mirror_stop(int signal) {
  if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU) return;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  kill(getpid(), signal);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);  // stops here until SIGCONT
  sigprocmask(SIG_BLOCK, &one, nullptr);
}

// True when the child has ended.
bool reap(ChildEnd* end) {
  for (;;) {
    int status = 0;
    rusage usage = {};
    const pid_t pid = wait4(end->pid, &status, WNOHANG | WUNTRACED, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return false;
    if (WIFSTOPPED(status)) {
      mirror_stop(WSTOPSIG(status));
      continue;
    }
    end->status = status;
    end->usage = usage;
    return true;
  }
}

// Signals that the kernel sends to our whole process group (Ctrl-C, Ctrl-Z, a hang-up) reach the child anyway; those
// that a process sent to us are meant for the program. Its own (`kill 0`) it has had already.
bool is_from_process(const siginfo_t& info) {
  return info.si_code == SI_USER || info.si_code == SI_QUEUE || info.si_code == SI_TKILL;
}

void wait_for(ChildEnd* end, const sigset_t& awaited, const SignalFilter& filter) {
  while (!reap(end)) {
    siginfo_t info = {};
    const int signal = sigwaitinfo(&awaited, &info);
    if (signal <= 0 || signal == SIGCHLD || !is_from_process(info)) continue;
    if (filter && filter(signal, end->pid)) continue;
    if (info.si_pid != end->pid && signal != SIGPIPE) kill(end->pid, signal);
  }
}

}  // namespace

int ChildEnd::exit_code() const {
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}
int ChildEnd::signal() const { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

ChildEnd run_child(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                   const SignalFilter& filter) {
  const auto arguments = pointers(argv);
  const auto variables = pointers(environment);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(fmt::format("cannot make a pipe: {}", error_text(errno)));
  Fd reading(ends[0]), writing(ends[1]);

  const sigset_t awaited = awaited_signals();
  sigset_t inherited;
  sigprocmask(SIG_BLOCK, &awaited, &inherited);
  // With SIGCHLD ignored the kernel would reap the child behind our back.
  struct sigaction inherited_chld = {}, plain = {};
  plain.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &plain, &inherited_chld);

  ChildEnd end;
  end.pid = fork();
  if (end.pid < 0) {
    const int error = errno;
    sigprocmask(SIG_SETMASK, &inherited, nullptr);
    throw Failure(
        fmt::format("cannot start a process: {}; see ulimit -u and the cgroup's pids.max", error_text(error)));
  }
  if (end.pid == 0) {
    if (in_foreign_session()) setsid();
    sigaction(SIGCHLD, &inherited_chld, nullptr);
    sigprocmask(SIG_SETMASK, &inherited, nullptr);
    environ = const_cast<char**>(variables.data());
    execvp(arguments[0], arguments.data());
    const int error = errno;
    write_all(writing.get(), {reinterpret_cast<const char*>(&error), sizeof(error)});
    _exit(kExitNotFound);
  }

  writing.reset();
  // Empty at a successful exec.
  ssize_t n;
  do n = read(reading.get(), &end.exec_error, sizeof(end.exec_error));
  while (n < 0 && errno == EINTR);
  if (n != sizeof(end.exec_error)) end.exec_error = 0;
  wait_for(&end, awaited, filter);
  return end;
}

void hold_signals() {
  const sigset_t awaited = awaited_signals();
  sigprocmask(SIG_BLOCK, &awaited, nullptr);
  std::signal(SIGCHLD, SIG_DFL);
}

ChildEnd wait_child(int pid, const SignalFilter& filter) {
  ChildEnd end;
  end.pid = pid;
  wait_for(&end, awaited_signals(), filter);
  return end;
}

void die_like(const ChildEnd& end) {
  const int signal = end.signal();
  if (signal != SIGINT && signal != SIGQUIT) return;
  prctl(PR_SET_DUMPABLE, 0);  // the program left the core, not we
  std::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  raise(signal);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);
}

}  // namespace ebb::tools
