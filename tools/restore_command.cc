// `ebb restore`: see restore_command.h.
#include "tools/restore_command.h"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <csignal>
#include <optional>

#include "snapshot/criu.h"
#include "snapshot/job_record.h"
#include "tools/clone_command.h"
#include "tools/command_line.h"
#include "tools/console.h"
#include "tools/snapshot_place.h"
#include "tools/standard_streams.h"

namespace ebb::tools {
namespace {

// While it lives, a job in a process group of its own has the terminal that we have. To be made before the job runs: it
// would read the terminal as a job of the background, and its first Ctrl-C would be ours.
class Foreground {
 public:
  Foreground(const Fd& terminal, pid_t job) : terminal_(terminal), group_(getpgid(job)) {
    if (!terminal_.valid() || group_ < 0 || group_ == getpgrp() || tcgetpgrp(terminal_.get()) != getpgrp()) return;
    given_ = tcsetpgrp(terminal_.get(), group_) == 0;
  }
  ~Foreground() {
    if (given_) tcsetpgrp(terminal_.get(), getpgrp());  // SIGTTOU is held
  }
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

 private:
  const Fd& terminal_;
  pid_t group_;
  bool given_ = false;
};

int bring_back(const RestoreOptions& options, const SignalFilter& filter) {
  const Console console(Verbosity::kNormal);
  auto held = snapshot_to_restore(options.tag);
  snapshot::require_privilege();
  const std::string images = images_of(held);
  const auto job = snapshot::read_job(images);
  if (job.own_namespace) {  // its PIDs were those of a namespace: it gets one again
    if (options.detach) throw Failure("a snapshot of a clone cannot be restored with --detach");
    if (filter) throw Failure("a snapshot of a clone cannot be restored with --snapshot-on");
    CloneRequest request;
    request.tag = options.tag;
    request.force = options.force;
    return run_clones(request);
  }
  auto request = snapshot::restore_request(images, job);
  request.files.unchecked = check_files(images, options.force, job, false);
  const StandardStreams streams(job, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
  request.inherited = streams.inherited();
  Fd terminal;
  if (job.terminal) {
    terminal = open_terminal();
    if (!terminal.valid())
      throw Failure("the job had a terminal: restore it on one, or start a copy with a log: ebb clone -n1 --logs DIR");
    request.terminal = terminal.get();
  }
  std::optional<Foreground> foreground;
  if (terminal.valid() && !options.detach)
    request.before_it_runs = [&](pid_t root) { foreground.emplace(terminal, root); };
  if (!options.detach) hold_signals();
  const auto restored = snapshot::restore(request);
  let_go_restored(&held);
  if (options.detach) {
    console.note(fmt::format("{} runs again as process {}", job.command, restored.root));
    return kExitOk;
  }
  const ChildEnd end = wait_child(restored.root, filter);
  foreground.reset();
  die_like(end);
  return end.exit_code();
}

}  // namespace

int restore_job(const RestoreOptions& options, const SignalFilter& filter) {
  return with_snapshot_errors([&] { return bring_back(options, filter); });
}

int restore_command(const std::vector<std::string>& arguments) {
  RestoreOptions options;
  CLI::App app("Brings a job back from its snapshot, with the PIDs that it had, and waits for its end.", "ebb restore");
  app.add_option("tag", options.tag, "Name of the snapshot")->type_name("TAG")->required();
  app.add_flag("--detach", options.detach, "Do not wait for its end");
  app.add_flag("--force", options.force, "Restore it although files that it had open have changed");
  if (const auto help = parse_words(app, arguments)) {
    write_all(STDOUT_FILENO, *help);
    return kExitOk;
  }
  return restore_job(options);
}

}  // namespace ebb::tools
