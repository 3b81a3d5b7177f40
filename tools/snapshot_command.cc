// `ebb snapshot`: see snapshot_command.h.
#include "tools/snapshot_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "snapshot/criu.h"
#include "snapshot/error.h"
#include "snapshot/format.h"
#include "snapshot/freeze.h"
#include "snapshot/job_pages.h"
#include "snapshot/job_record.h"
#include "snapshot/private_folder.h"
#include "snapshot/space.h"
#include "tools/command_line.h"
#include "tools/console.h"
#include "tools/fd.h"
#include "tools/job_page.h"
#include "tools/job_target.h"
#include "tools/progress.h"
#include "tools/snapshot_place.h"
#include "tools/system_files.h"

namespace ebb::tools {
namespace {

constexpr char kDone[] = "done\n";  // for the library to read
// What comes and goes in a job that runs is met by chance: so long CRIU tries again.
constexpr std::chrono::seconds kPassingPatience{2};

struct SnapshotOptions {
  std::string job, tag, wait = "created";
  bool leave_running = false, replace = false, print_stats = false, tcp = false, quiet = false;
  bool inside = false;  // a process of the job has us do this, and waits: runtime/interpose/tool.h
};

// What took how long, in microseconds.
struct Taken {
  std::string command;
  pid_t root = 0;
  size_t processes = 0;
  snapshot::DumpStatistics criu;
  snapshot::FreezeStatistics heaps;
  uint64_t criu_us = 0, publish_us = 0;
  Fd in_use;               // the snapshot stays: another that is to replace it waits until it is persisted
  uint64_t paused_us = 0;  // from the first stop of a thread until the job ran freely again, or had ended
};

uint64_t microseconds_since(std::chrono::steady_clock::time_point start) {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now() - start).count());
}

nlohmann::json statistics_json(const Taken& taken, uint64_t total_us) {
  return {{"processes", taken.processes},
          {"total_us", total_us},
          {"paused_us", taken.paused_us},
          {"phases",
           {{"clean_us", taken.heaps.clean_us},
            {"hold_us", taken.heaps.hold_us},
            {"seal_us", taken.heaps.seal_us},
            {"free_us", taken.heaps.free_us},
            {"criu_us", taken.criu_us},
            {"publish_us", taken.publish_us},
            {"resume_us", taken.heaps.resume_us}}},
          {"criu",
           {{"freezing_us", taken.criu.freezing_us},
            {"frozen_us", taken.criu.frozen_us},
            {"memdump_us", taken.criu.memdump_us},
            {"memwrite_us", taken.criu.memwrite_us},
            {"pages_written", taken.criu.pages_written}}}};
}

void describe(const snapshot::ProcessTree& tree, const std::vector<snapshot::RecordedFile>& files,
              snapshot::Manifest* manifest) {
  const std::string line = SystemFiles().read(fmt::format("/proc/{}/cmdline", tree.root)).value_or("");
  for (const auto& word : split(line, '\0')) manifest->command.push_back(word);
  while (!manifest->command.empty() && manifest->command.back().empty()) manifest->command.pop_back();
  manifest->root_pid = tree.root;
  manifest->pids.assign(tree.pids.begin(), tree.pids.end());
  manifest->terminal = tree.terminal;
  manifest->job_name = job_name(tree.root);
  for (const auto& file : files)
    manifest->open_files.push_back({file.path, {file.size}, file.mtime_ns, file.inode, {}});
}

// A page that is locked must not be opened again.
void tell(snapshot::JobPages& pages, pid_t root, const std::string& text) {
  if (pages.processes().empty())
    tell_job(snapshot::start_variable(root, kJobVariable), text);
  else
    pages.post(text);
}

// In a process of its own, which outlives us. When it cannot, the snapshot stays created; `ebb snapshots ls` tells.
void persist_behind(const snapshot::Catalogue& catalogue, const std::string& tag, Fd made) {
  if (fork() != 0) return;
  setsid();
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, standard);
  int code = kExitOk;
  try {
    catalogue.persist(tag, {}, snapshot::Pace::kGivesWay, std::move(made));
  } catch (const std::exception&) {
    code = kExitOurs;
  }
  _exit(code);
}

[[noreturn]] void refuse(const std::string& why) {
  throw Failure("the snapshot is refused and the job goes on: " + why);
}

// What cannot be written is told with what is free, which the library does not know.
std::string with_space(const std::string& text, const std::string& folder) {
  const bool full = text.find(error_text(ENOSPC)) != std::string::npos;
  return full ? fmt::format("{}; {}", text, snapshot::free_space(folder)) : text;
}

// What is frozen cannot freeze.
void check_outside(const snapshot::ProcessTree& tree) {
  if (std::find(tree.pids.begin(), tree.pids.end(), getpid()) == tree.pids.end()) return;
  const pid_t parent = getppid();
  refuse(
      fmt::format("this ebb would be part of it, as a child of process {} ({}). Start it outside of the job; a program "
                  "that takes in orphans (PR_SET_CHILD_SUBREAPER, or the first process of a container) has to run "
                  "outside of the job, too",
                  parent, snapshot::process_name(parent)));
}

void seal(snapshot::HeapFreeze& heaps, const std::string& folder, pid_t root, bool tcp) {
  try {
    TerminalProgress progress;
    heaps.seal(folder, [&](const char* step, Bytes done, Bytes of) { progress.show(step, done, of); });
  } catch (const Failure& failure) {
    refuse(failure.what());
  }
  // What is left of these is the program's own.
  const std::string obstacle = snapshot::known_obstacle(snapshot::read_tree(root), tcp);
  if (!obstacle.empty()) refuse(obstacle);
}

// The job runs again, or has ended: large files may take seconds.
void remove_replaced(snapshot::Draft* draft, const Console& console) {
  try {
    draft->remove_replaced();
  } catch (const snapshot::SnapshotError& e) {  // the new one is there all the same
    console.warn(fmt::format("what was replaced stays on the disk: {}; ebb snapshots prune removes it", e.what()));
  }
}

// Freezes the job and publishes the snapshot; the pages of its control are locked meanwhile.
Taken freeze(const SnapshotOptions& options, const Console& console, const snapshot::Catalogue& catalogue) {
  const pid_t named = find_job(options.job);
  const pid_t root = options.inside ? job_around(named) : named;
  check_outside(snapshot::read_tree(root));
  snapshot::require_privilege();
  snapshot::JobPages pages;
  const auto tree = pages.find_below(root).tree;
  const bool paged = !pages.processes().empty();
  const std::string obstacle = snapshot::known_obstacle(tree, options.tcp, pages.pids());
  if (!obstacle.empty()) refuse(obstacle);
  for (const auto& pipe : snapshot::outside_pipes(tree))
    if (pipe.descriptor < 0 && pipe.held.number <= 2)
      console.warn(
          fmt::format("descriptor {} of process {} ({}) is a pipe to a process outside the job: nobody will be "
                      "at its other end after a restore",
                      pipe.held.number, pipe.held.pid, snapshot::process_name(pipe.held.pid)));

  // Whoever reads or persists what is to be replaced comes to an end: better now than with the job frozen.
  Fd replaced = options.replace ? catalogue.wait_for_users(options.tag) : Fd();
  auto draft = catalogue.begin(options.tag, {}, options.replace);
  draft.keep_users_out(std::move(replaced));
  const std::string images = draft.images(), heap_folder = draft.heap();
  snapshot::check_space(images, snapshot::bytes_to_write(tree, pages));
  snapshot::HeapFreeze heaps(pages, root);
  if (paged) seal(heaps, heap_folder, root, options.tcp);

  Taken taken;
  snapshot::DumpRequest request;
  request.root = root;
  request.images = images;
  request.leave_running = options.leave_running;
  request.tcp_established = options.tcp;
  // It counts before the job ends: whatever happens to us, there is the job or its snapshot.
  const auto publish = [&] {
    const auto start = std::chrono::steady_clock::now();
    const auto frozen = snapshot::read_tree(root);
    auto job = snapshot::record_job(frozen);
    job.tcp = options.tcp;
    if (!pages.processes().empty()) job.heap = heap_folder;
    for (const pid_t pid : pages.pids())
      if (const auto pids = snapshot::namespace_pids(pid); !pids.empty()) job.paged.push_back(pids.back());
    snapshot::write_job(images, job);
    const auto files = snapshot::record_files(frozen, job.heap);
    snapshot::write_files(images, files);
    snapshot::save_private_folder(root, job.temporary_directory, images);
    describe(frozen, files, &draft.manifest());
    taken.in_use = draft.publish();
    heaps.moved_to(catalogue.root() / options.tag / "heap");
    if (!options.leave_running)
      tell(pages, root, fmt::format("{}{}; ebb restore {} brings it back", kFrozen, options.tag, options.tag));
    taken.publish_us = microseconds_since(start);
  };
  request.on_frozen = [&] {
    try {
      publish();
    } catch (const std::exception& e) {
      refuse(with_space(e.what(), images));
    }
  };
  const auto start = std::chrono::steady_clock::now();
  request.again = [&] {
    if (std::chrono::steady_clock::now() - start > kPassingPatience) return false;
    seal(heaps, heap_folder, root, options.tcp);
    return true;
  };
  taken.criu = snapshot::dump(request);
  taken.criu_us = microseconds_since(start) - taken.publish_us;
  if (options.leave_running)
    heaps.resume();
  else
    heaps.let_end();
  taken.heaps = heaps.statistics();
  taken.paused_us = taken.heaps.stopped ? microseconds_since(*taken.heaps.stopped) : taken.criu.frozen_us;
  remove_replaced(&draft, console);
  taken.command = tree.command;
  taken.root = root;
  taken.processes = tree.pids.size();
  return taken;
}

// What CRIU stores is written while the job stands still.
void say_what_would_help(const Taken& taken, const Console& console) {
  constexpr uint64_t kMuch = uint64_t{1} << 30;
  const uint64_t stored = taken.criu.pages_written * kPageSize;
  if (stored >= kMuch)
    console.note(
        fmt::format("{} were written while it stood still: a job of `ebb run --clean-ahead` has written most of "
                    "its memory before",
                    snapshot::readable(Bytes{stored})));
}

int take(const SnapshotOptions& options) {
  const Console console(options.quiet ? Verbosity::kQuiet : Verbosity::kNormal);
  std::signal(SIGCHLD, SIG_DFL);  // ignored, as whoever started us may have left it, nobody's end could be asked for
  const auto start = std::chrono::steady_clock::now();
  const auto catalogue = user_catalogue();
  Taken taken = freeze(options, console, catalogue);
  const auto total = microseconds_since(start);
  console.note(fmt::format("snapshot {} of {} ({}) taken in {}, the job stood still for {}{}",
                           shell_quoted(options.tag), taken.command, taken.root, readable_time(total * 1000),
                           readable_time(taken.paused_us * 1000),
                           options.leave_running ? " and goes on" : " and has ended"));
  say_what_would_help(taken, console);
  if (options.wait == "persisted") {
    TerminalProgress progress;
    try {
      const auto show = [&](const char* step, Bytes done, Bytes of) { progress.show(step, done, of); };
      catalogue.persist(options.tag, show, snapshot::Pace::kAtOnce, std::move(taken.in_use));
    } catch (const snapshot::SnapshotError& e) {
      throw Failure(fmt::format("snapshot {} can be restored, but would not survive a power failure: {}", options.tag,
                                with_space(e.what(), catalogue.root())));
    }
  } else {
    persist_behind(catalogue, options.tag, std::move(taken.in_use));
  }
  if (options.print_stats) write_all(STDOUT_FILENO, statistics_json(taken, total).dump(2) + "\n");
  if (options.inside) write_all(STDERR_FILENO, kDone);
  return kExitOk;
}

}  // namespace

int snapshot_command(const std::vector<std::string>& arguments) {
  SnapshotOptions options;
  CLI::App app("Freezes a running job, with all its processes, into a snapshot. The job ends, unless --leave-running.",
               "ebb snapshot");
  app.add_option("job", options.job, "Name of an `ebb run`, or a PID")->type_name("NAME|PID")->required();
  app.add_option("tag", options.tag, "Name of the snapshot [the job's, with the time]")->type_name("TAG");
  app.add_flag("--leave-running", options.leave_running, "The job goes on");
  app.add_flag("--replace", options.replace, "Take the place of a snapshot of the same name");
  app.add_option("--wait", options.wait, "Return when it can be restored, or when it would survive a power failure too")
      ->type_name("created|persisted")
      ->check(CLI::IsMember({"created", "persisted"}));
  app.add_flag("--print-stats", options.print_stats, "Print what took how long, as JSON");
  app.add_flag("--tcp-established", options.tcp,
               "Keep established TCP connections; they must still be there at restore");
  app.add_flag("-q,--quiet", options.quiet, "Print nothing but errors");
  app.add_flag("--inside", options.inside, "The whole job that process PID belongs to; \"done\" on stderr at the end")
      ->group("");  // not for people
  if (const auto help = parse_words(app, arguments)) {
    write_all(STDOUT_FILENO, *help);
    return kExitOk;
  }
  options.leave_running |= options.inside;
  if (options.tag.empty()) {
    if (options.replace) throw Failure("--replace: say which snapshot: ebb snapshot NAME|PID TAG --replace");
    const pid_t root = find_job(options.job);
    const std::string name = job_name(root);
    return with_snapshot_errors([&] {
      options.tag = fresh_tag(name.empty() ? snapshot::process_name(root) : name);
      return take(options);
    });
  }
  return with_snapshot_errors([&] { return take(options); });
}

}  // namespace ebb::tools
