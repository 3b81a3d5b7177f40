// `ebb snapshot`: see snapshot_command.h.
#include "tools/snapshot_command.h"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "snapshot/criu.h"
#include "snapshot/job_record.h"
#include "snapshot/private_folder.h"
#include "tools/command_line.h"
#include "tools/console.h"
#include "tools/job_target.h"
#include "tools/snapshot_place.h"

namespace ebb::tools {
namespace {

struct SnapshotOptions {
  std::string job, tag;
  bool leave_running = false, print_stats = false, tcp = false, quiet = false;
};

nlohmann::json statistics_json(const snapshot::DumpStatistics& statistics, uint64_t total_us, size_t processes) {
  return {{"processes", processes},
          {"total_us", total_us},
          {"criu",
           {{"freezing_us", statistics.freezing_us},
            {"frozen_us", statistics.frozen_us},
            {"memdump_us", statistics.memdump_us},
            {"memwrite_us", statistics.memwrite_us},
            {"pages_written", statistics.pages_written}}}};
}

int take(const SnapshotOptions& options) {
  using namespace std::chrono;
  const Console console(options.quiet ? Verbosity::kQuiet : Verbosity::kNormal);
  const auto start = steady_clock::now();
  const pid_t root = find_job(options.job);
  const auto tree = snapshot::read_tree(root);
  const std::string obstacle = snapshot::known_obstacle(tree, options.tcp);
  if (!obstacle.empty()) throw Failure("the snapshot is refused and the job goes on: " + obstacle);
  for (const auto& pipe : snapshot::outside_pipes(tree))
    if (pipe.descriptor < 0 && pipe.held.number <= 2)
      console.warn(
          fmt::format("descriptor {} of process {} ({}) is a pipe to a process outside the job: nobody will be "
                      "at its other end after a restore",
                      pipe.held.number, pipe.held.pid, snapshot::process_name(pipe.held.pid)));

  const std::string images = snapshot_images(options.tag, true);
  try {
    snapshot::DumpRequest request;
    request.root = root;
    request.images = images;
    request.leave_running = options.leave_running;
    request.tcp_established = options.tcp;
    request.on_frozen = [&] {
      const auto frozen = snapshot::read_tree(root);
      auto job = snapshot::record_job(frozen);
      job.tcp = options.tcp;
      snapshot::write_job(images, job);
      snapshot::write_files(images, snapshot::record_files(frozen));
      snapshot::save_private_folder(root, job.temporary_directory, images);
    };
    const auto statistics = snapshot::dump(request);
    const auto total = static_cast<uint64_t>(duration_cast<microseconds>(steady_clock::now() - start).count());
    console.note(fmt::format("snapshot {} of {} ({}) taken in {}, the job stood still for {}{}",
                             shell_quoted(options.tag), tree.command, root, readable_time(total * 1000),
                             readable_time(statistics.frozen_us * 1000),
                             options.leave_running ? " and goes on" : " and has ended"));
    if (options.print_stats)
      write_all(STDOUT_FILENO, statistics_json(statistics, total, tree.pids.size()).dump(2) + "\n");
  } catch (...) {
    drop_snapshot(images);
    throw;
  }
  return kExitOk;
}

}  // namespace

int snapshot_command(const std::vector<std::string>& arguments) {
  SnapshotOptions options;
  CLI::App app("Freezes a running job, with all its processes, into a snapshot. The job ends, unless --leave-running.",
               "ebb snapshot");
  app.add_option("job", options.job, "Name of an `ebb run`, or a PID")->type_name("NAME|PID")->required();
  app.add_option("tag", options.tag, "Name of the snapshot, or a path")->type_name("TAG")->required();
  app.add_flag("--leave-running", options.leave_running, "The job goes on");
  app.add_flag("--print-stats", options.print_stats, "Print what took how long, as JSON");
  app.add_flag("--tcp-established", options.tcp,
               "Keep established TCP connections; they must still be there at restore");
  app.add_flag("-q,--quiet", options.quiet, "Print nothing but errors");
  if (const auto help = parse_words(app, arguments)) {
    write_all(STDOUT_FILENO, *help);
    return kExitOk;
  }
  return take(options);
}

}  // namespace ebb::tools
