// One run of the command `criu`: see criu_process.h.
#include "snapshot/criu_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "snapshot/criu.h"
#include "snapshot/criu_log.h"
#include "snapshot/image.h"
#include "snapshot/process_tree.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;

constexpr int kCannotStart = 127;
constexpr char kNoDefaultConfig[] = "--no-default-config", kRestore[] = "restore";
// So often CRIU is looked after; and so long a process may have ended before CRIU is taken to have missed it: it is
// still at work for a moment when it has let a job go, whose processes end as they like.
constexpr std::chrono::milliseconds kLook{250}, kPatience{3000};

std::vector<std::string> clean_environment(const std::vector<std::string>& more) {
  std::vector<std::string> out = more;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    // Ours and the program's libraries are not for CRIU; its options come from us alone.
    if (name != "LD_PRELOAD" && name != "LD_LIBRARY_PATH" && name != "LD_AUDIT" && name != "CRIU_CONFIG_FILE" &&
        name.rfind("CRTOOLS_", 0) != 0)
      out.push_back(text);
  }
  return out;
}

// How it is started. The one that fetch_criu.sh unpacked has a wrapper in shell, for people, which starts four
// processes until it comes to CRIU; we start its loader ourselves.
std::vector<std::string> command_of(const std::string& program) {
  std::error_code error;
  const auto root = std::filesystem::canonical(program, error).parent_path() / "root";
  const std::string loader = root / "lib64/ld-linux-x86-64.so.2", inner = root / "usr/sbin/criu";
  if (error || access(loader.c_str(), X_OK) != 0 || access(inner.c_str(), X_OK) != 0) return {program};
  const std::string libraries = root / "usr/lib";
  return {loader, "--library-path", libraries + "/x86_64-linux-gnu:" + libraries, inner};
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));  // exec does not write to them
  out.push_back(nullptr);
  return out;
}

// Of the child: what it says can only go to the file that gets CRIU's own words.
[[noreturn]] void give_up(const char* what) {
  tools::write_all(STDERR_FILENO, fmt::format("Error (ebb): {}: {}\n", what, error_text(errno)));
  _exit(kCannotStart);
}

// A restore opens a file for each mapping that is of another file than the one before. CRIU raises the limit itself
// where it may (CAP_SYS_RESOURCE). Restored processes get their own limits back.
void raise_open_files() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The PID namespace takes effect for children only, so a process stays outside to wait for the one inside.
void enter_namespaces(const std::vector<tools::Fd>& namespaces) {
  for (const auto& space : namespaces)
    if (setns(space.get(), 0) != 0) give_up("cannot enter the job's namespaces");
  const pid_t inside = fork();
  if (inside < 0) give_up("cannot start a process");
  if (inside == 0) return;
  const int status = wait_for_end(inside);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : kCannotStart);
}

std::vector<tools::Fd> open_namespaces(pid_t pid) {
  std::vector<tools::Fd> out;
  if (pid == 0) return out;
  for (const char* kind : {"ipc", "uts", "pid", "mnt"}) {
    const std::string path = fmt::format("/proc/{}/ns/{}", pid, kind);
    out.emplace_back(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!out.back().valid()) throw Failure(fmt::format("cannot open {}: {}", path, error_text(errno)));
  }
  return out;
}

}  // namespace

pid_t start_criu(const CriuStart& start) {
  const std::string program = find_criu();
  if (program.empty()) throw Failure("CRIU is not to be found; see: ebb doctor");
  auto words = command_of(program);
  words.insert(words.end(), start.arguments.begin(), start.arguments.end());
  const auto environment = clean_environment(start.environment);
  const auto arguments = pointers(words), variables = pointers(environment);
  const auto namespaces = open_namespaces(start.namespaces_of);
  const tools::Fd output(open(start.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const tools::Fd nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!output.valid()) throw Failure(fmt::format("cannot write {}: {}", start.output, error_text(errno)));

  const pid_t us = getpid(), child = fork();
  if (child < 0) throw Failure(fmt::format("cannot start a process: {}", error_text(errno)));
  if (child > 0) return child;
  if (start.ends_with_us && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != us)) _exit(kCannotStart);
  dup2(start.input >= 0 ? start.input : nothing.get(), STDIN_FILENO);
  dup2(output.get(), STDOUT_FILENO);
  dup2(output.get(), STDERR_FILENO);
  if (start.own_session) setsid();
  umask(077);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGCHLD, SIG_DFL);
  raise_open_files();
  for (const int descriptor : start.descriptors) fcntl(descriptor, F_SETFD, 0);
  if (!namespaces.empty()) enter_namespaces(namespaces);
  execve(arguments[0], arguments.data(), variables.data());
  give_up(program.c_str());
}

Waited wait_beside_criu(pid_t criu, int descriptor, const std::function<std::optional<pid_t>()>& missed) {
  const tools::Fd end(static_cast<int>(syscall(SYS_pidfd_open, criu, 0)));
  if (!end.valid()) throw Failure(fmt::format("cannot watch CRIU: {}", error_text(errno)));
  for (auto well = std::chrono::steady_clock::now();;) {
    pollfd both[] = {{end.get(), POLLIN, 0}, {descriptor, POLLIN, 0}};
    const int ready = poll(both, 2, static_cast<int>(kLook.count()));
    if (ready < 0 && errno != EINTR) throw Failure(fmt::format("cannot wait for CRIU: {}", error_text(errno)));
    if (ready > 0 && both[1].revents & POLLIN) return {true, std::nullopt};
    if (ready > 0) return {};
    const auto found = missed();
    const auto now = std::chrono::steady_clock::now();
    if (!found) {
      well = now;
    } else if (now - well > kPatience) {
      kill(criu, SIGKILL);
      return {false, found};
    }
  }
}

bool is_restoring_criu(const std::vector<std::string>& words) {
  const auto action = std::find(words.begin(), words.end(), kRestore);
  return action != words.end() && action + 1 != words.end() && action[1] == kNoDefaultConfig;
}

std::vector<std::string> common_options(const std::string& action, const std::string& log) {
  // The log is read when it fails, and removed when it does not. CRIU writes each line by itself, and all that it does
  // would be thousands, half of them while the job stands still.
  const char* const wish = std::getenv("EBB_VERBOSE");
  std::vector<std::string> out = {
      action,
      kNoDefaultConfig,
      "-o",
      log,
      wish && std::string_view(wish) == "2" ? "-v4" : "-v2",
      "-j",                        // the session and the terminal may belong to the caller's shell
      "-l",                        // file locks
      "--manage-cgroups=ignore"};  // a batch system's cgroup is the caller's, not the snapshot's
  if (geteuid() != 0) out.push_back("--unprivileged");
  return out;
}

void fail_with_log(const std::string& what, const std::string& log, WorkFolder* work) {
  work->keep();
  const tools::SystemFiles files;
  const std::string log_path = work->path() + "/" + log, output = work->path() + "/" + kCriuOutput;
  std::string cause = criu_cause(files.read(log_path).value_or(""));
  std::string shown = log_path;
  if (cause.empty()) {
    cause = tools::trimmed(files.line(output).value_or(""));
    if (access(log_path.c_str(), F_OK) != 0) shown = output;
  }
  if (cause.empty()) cause = "CRIU ended without a reason";
  throw Failure(fmt::format("{}: {} (CRIU's log: {})", what, cause, shown));
}

std::vector<uint64_t> read_statistics(const std::string& file, unsigned field, const std::vector<unsigned>& numbers) {
  std::vector<uint64_t> out(numbers.size(), 0);
  try {
    const auto messages = read_image(file);
    const ImageMessage all(messages.at(0));
    const ImageMessage part(all.bytes(field).value_or(""));
    for (size_t i = 0; i < numbers.size(); ++i) out[i] = part.number(numbers[i]).value_or(0);
  } catch (const std::exception&) {  // figures are a service, no reason to fail
  }
  return out;
}

}  // namespace ebb::snapshot
