// `ebb clone`: see clone_command.h.
#include "tools/clone_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "snapshot/criu.h"
#include "snapshot/job_record.h"
#include "tools/child.h"
#include "tools/clone_space.h"
#include "tools/command_line.h"
#include "tools/console.h"
#include "tools/snapshot_place.h"
#include "tools/standard_streams.h"
#include "tools/terminal_relay.h"

namespace ebb::tools {
namespace {

// A scratch folder must not lie in the directory that it makes private.
bool is_below(const std::string& path, const std::string& folder) {
  const auto full = std::filesystem::weakly_canonical(path).string() + "/";
  return full.rfind(std::filesystem::weakly_canonical(folder).string() + "/", 0) == 0;
}

constexpr char kScratchName[] = "ebb-clone.";

// The clone's first process has the lock as well as we, so it lasts as long as either.
Fd lock_scratch(const std::string& path, int how) {
  Fd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder.valid() && flock(folder.get(), how | LOCK_NB) != 0) folder.reset();
  return folder;
}

// Removes what clones have left behind whose `ebb clone` was killed. One that was made just now may not be locked yet.
void sweep_scratch(const std::string& base) {
  constexpr auto kJustNow = std::chrono::minutes(1);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(base, ignored)) {
    struct stat info = {};
    if (entry.path().filename().string().rfind(kScratchName, 0) != 0 || lstat(entry.path().c_str(), &info) != 0 ||
        !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(info.st_mtime) < kJustNow)
      continue;
    if (const Fd unused = lock_scratch(entry.path(), LOCK_EX); unused.valid())
      std::filesystem::remove_all(entry.path(), ignored);
  }
}

std::string make_scratch(const std::string& first, const std::string& temporary) {
  for (const auto& base : {first, std::string("/var/tmp"), std::string("/tmp"), std::string("/dev/shm")}) {
    if (base.empty() || is_below(base, temporary)) continue;
    std::string path = std::filesystem::absolute(base).string() + "/" + kScratchName + "XXXXXX";
    if (mkdtemp(path.data())) return path;
  }
  throw Failure(
      fmt::format("no folder outside of {} for the clones' temporary files; give one: --logs DIR", temporary));
}

struct Clone {
  int number = 0;
  std::string scratch, log;
  Fd scratch_lock, output;
  std::unique_ptr<TerminalRelay> relay;
  StartedClone started;
  pid_t root = 0;
  bool ended = false;
};

class Clones {
 public:
  explicit Clones(const CloneRequest& request)
      : request_(request),
        console_(Verbosity::kNormal),
        held_(snapshot_to_restore(request.tag)),
        images_(images_of(held_)),
        job_(snapshot::read_job(images_)),
        nothing_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  int go() {
    if (!request_.logs.empty()) make_logs();
    hold_signals();
    clones_.resize(static_cast<size_t>(request_.count));
    for (size_t i = 0; i < clones_.size(); ++i) start(&clones_[i], static_cast<int>(i) + 1);
    const std::filesystem::path scratch = clones_[0].scratch;
    for (auto& clone : clones_) await(&clone);
    let_go_restored(&held_);
    sweep_scratch(scratch.parent_path());
    while (running() > 0) take_signal();
    for (auto& clone : clones_) tidy(&clone);
    return code_;
  }

 private:
  bool foreground() const { return request_.logs.empty(); }

  void make_logs() {
    std::error_code error;
    std::filesystem::create_directories(request_.logs, error);
    if (error) throw Failure(fmt::format("cannot make {}: {}", request_.logs, error.message()));
  }

  void start(Clone* clone, int number) {
    clone->number = number;
    clone->scratch = make_scratch(request_.logs, job_.temporary_directory);
    clone->scratch_lock = lock_scratch(clone->scratch, LOCK_SH);
    CloneSpace space;
    space.images = images_;
    space.job = job_;
    space.number = number;
    space.scratch = clone->scratch;
    space.force = request_.force;
    space.description =
        nlohmann::json({{"clone", number}, {"of", request_.count}, {"arguments", request_.arguments}}).dump();
    for (const auto& [name, value] : request_.arguments) space.arguments += name + "=" + value + '\0';
    if (foreground()) {
      space.input = STDIN_FILENO;
      space.output = STDOUT_FILENO;
      space.error = STDERR_FILENO;
    } else {
      clone->log = fmt::format("{}/clone-{}.log", request_.logs, number);
      clone->output.reset(open(clone->log.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
      if (!clone->output.valid()) throw Failure(fmt::format("cannot write {}: {}", clone->log, error_text(errno)));
      space.input = nothing_.get();
      space.output = space.error = clone->output.get();
      space.own_streams = true;
    }
    if (job_.terminal) {
      clone->relay = std::make_unique<TerminalRelay>();
      space.terminal = clone->relay->slave();
    }
    clone->started = start_clone(space);
    if (clone->relay) clone->relay->release_slave();  // no later clone is to hold it
  }

  void await(Clone* clone) {
    try {
      clone->root = wait_clone(clone->started);
    } catch (const Failure& failure) {
      console_.error(fmt::format("clone {}: {}", clone->number, failure.what()));
      clone->scratch.clear();  // the log that the message names is there
    }
    clone->started.report.reset();
    if (!foreground() && clone->root > 0)
      console_.note(fmt::format("clone {} runs as process {}, log {}", clone->number, clone->root, clone->log));
    if (clone->relay)
      clone->relay->start(foreground() && isatty(STDIN_FILENO) ? STDIN_FILENO : -1,
                          foreground() ? STDOUT_FILENO : clone->output.get());
  }

  size_t running() const {
    size_t count = 0;
    for (const auto& clone : clones_) count += !clone.ended;
    return count;
  }

  // The clones are sessions of their own: what the terminal or somebody sends to us is meant for them.
  void take_signal() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGCHLD, SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2})
      sigaddset(&set, signal);
    // Children that ended before are no news to the kernel.
    reap();
    if (running() == 0) return;
    const int signal = sigwaitinfo(&set, nullptr);
    if (signal <= 0 || signal == SIGCHLD) return;
    for (const auto& clone : clones_) {
      if (signal == SIGWINCH && clone.relay) clone.relay->resize();
      if (signal != SIGWINCH && !clone.ended && clone.root > 0) kill(clone.root, signal);
    }
  }

  void reap() {
    for (auto& clone : clones_) {
      int status = 0;
      if (clone.ended || waitpid(clone.started.first, &status, WNOHANG) <= 0) continue;
      clone.ended = true;
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitSignalBase + WTERMSIG(status);
      if (!foreground() && clone.root > 0) console_.note(fmt::format("clone {} ended with {}", clone.number, code));
      if (code_ == kExitOk) code_ = code;
    }
  }

  void tidy(Clone* clone) {
    clone->relay.reset();
    std::error_code ignored;
    if (!clone->scratch.empty()) std::filesystem::remove_all(clone->scratch, ignored);
  }

  CloneRequest request_;
  Console console_;
  snapshot::HeldSnapshot held_;
  std::string images_;
  snapshot::JobRecord job_;
  Fd nothing_;
  std::vector<Clone> clones_;
  int code_ = kExitOk;
};

std::map<std::string, std::string> parse_arguments(const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const auto& word : words) {
    const size_t at = word.find('=');
    if (at == 0 || at == std::string::npos)
      throw Failure(fmt::format("--arg: {} is not NAME=VALUE", shell_quoted(word)));
    out[word.substr(0, at)] = word.substr(at + 1);
  }
  return out;
}

}  // namespace

int run_clones(const CloneRequest& request) {
  Clones clones(request);
  snapshot::require_privilege();
  return clones.go();
}

int clone_command(const std::vector<std::string>& arguments) {
  CloneRequest request;
  std::vector<std::string> words;
  CLI::App app("Starts copies of a job from its snapshot, each with PIDs, mounts, IPC and temporary files of its own.",
               "ebb clone");
  app.add_option("tag", request.tag, "Name of the snapshot")->type_name("TAG")->required();
  app.add_option("-n", request.count, "How many; more than one need logs [1]")
      ->type_name("N")
      ->check(CLI::Range(1, 10000));
  app.add_option("--arg", words, "For the clones to read, in .ebb-clone.json of their temporary directory; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--logs", request.logs, "Folder for clone-K.log [one clone: our standard streams; more: TAG.clones]")
      ->type_name("DIR");
  app.add_flag("--force", request.force, "Start them although files that the job had open have changed");
  if (const auto help = parse_words(app, arguments)) {
    write_all(STDOUT_FILENO, *help);
    return kExitOk;
  }
  request.arguments = parse_arguments(words);
  if (request.count > 1 && request.logs.empty()) request.logs = request.tag + ".clones";
  return with_snapshot_errors([&] { return run_clones(request); });
}

}  // namespace ebb::tools
