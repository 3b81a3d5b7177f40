// Snapshots at a signal: see snapshot_on.h.
#include "tools/snapshot_on.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <csignal>
#include <vector>

#include "snapshot/criu.h"
#include "snapshot/root_folder.h"

namespace ebb::tools {
namespace {

// What batch systems and people send as a word of warning. The terminal's own signals are the program's.
struct Name {
  const char* word;
  int signal;
};
constexpr Name kNames[] = {{"HUP", SIGHUP}, {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"XCPU", SIGXCPU}};

// In a session of its own: Ctrl-C is not meant for it. 0 when it cannot be started; errno says why.
pid_t start(const std::vector<std::string>& words) {
  char self[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (n <= 0) return 0;
  self[n] = 0;
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));  // exec does not write to them
  arguments.push_back(nullptr);
  sigset_t none, child;
  sigemptyset(&none);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &child);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  errno = posix_spawn(&pid, self, nullptr, &how, arguments.data(), environ);
  const bool started = errno == 0;
  posix_spawnattr_destroy(&how);
  return started ? pid : 0;
}

}  // namespace

SnapshotOn parse_snapshot_on(const std::string& word) {
  const size_t equals = word.find('=');
  std::string name = word.substr(0, equals);
  if (name.rfind("SIG", 0) == 0) name.erase(0, 3);
  SnapshotOn out;
  std::vector<std::string> known;
  for (const auto& one : kNames) {
    known.push_back(std::string("SIG") + one.word);
    if (name == one.word) out.signal = one.signal;
  }
  if (out.signal == 0)
    throw Failure(
        fmt::format("--snapshot-on: {} is none of {}", shell_quoted(word.substr(0, equals)), fmt::join(known, ", ")));
  if (equals == std::string::npos) return out;
  out.tag = word.substr(equals + 1);
  if (!snapshot::is_tag(out.tag))
    throw Failure(
        fmt::format("--snapshot-on: {} is no name for a snapshot: 1 to 100 letters, digits, '.', '_' and '-', "
                    "the first a letter or digit",
                    shell_quoted(out.tag)));
  return out;
}

SignalledSnapshots::SignalledSnapshots(std::optional<SnapshotOn> wish, Verbosity verbosity)
    : wish_(std::move(wish)), console_(verbosity) {
  if (wish_ && snapshot::find_criu().empty())
    console_.warn("--snapshot-on: there will be no snapshots: CRIU is not to be found; see: ebb doctor");
}

SignalledSnapshots::~SignalledSnapshots() {
  while (tool_ > 0 && waitpid(tool_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool SignalledSnapshots::busy() {
  if (tool_ > 0 && waitpid(tool_, nullptr, WNOHANG) != 0) tool_ = 0;
  return tool_ > 0;
}

bool SignalledSnapshots::take(int signal, pid_t job) {
  if (!wish_ || signal != wish_->signal) return false;
  if (busy()) {
    console_.note("a snapshot is being taken already; this signal is ignored");
    return true;
  }
  std::vector<std::string> words = {"ebb", "snapshot", std::to_string(job), wish_->tag, "--leave-running", "--replace"};
  if (console_.verbosity() == Verbosity::kQuiet) words.push_back("-q");
  tool_ = start(words);
  if (tool_ == 0) console_.error(fmt::format("no snapshot: cannot start ebb: {}", error_text(errno)));
  return true;
}

}  // namespace ebb::tools
