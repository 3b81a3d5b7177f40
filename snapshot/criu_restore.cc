// Having CRIU restore a process tree: see criu.h.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "snapshot/criu.h"
#include "snapshot/criu_process.h"
#include "snapshot/failure_point.h"
#include "snapshot/freeze.h"
#include "snapshot/image.h"
#include "snapshot/job_record.h"
#include "snapshot/process_tree.h"
#include "snapshot/restore_guard.h"
#include "tools/console.h"

namespace ebb::snapshot {
namespace {

using tools::Failure;

constexpr char kLog[] = "restore.log";
// CRIU and its helpers get PIDs like everybody: one that the job needs, now and then.
constexpr int kTries = 3;

// What is killed gives its memory back first, and then waits for its parent to look at it, which takes init a moment.
constexpr std::chrono::milliseconds kEndPatience{2000}, kEndLook{5};

// A PID or thread ID of the job that somebody has now.
std::optional<int> id_in_use(const std::vector<StoredProcess>& processes) {
  const auto until = std::chrono::steady_clock::now() + kEndPatience;
  for (const auto& process : processes)
    for (const int thread : process.threads)
      while (process_state(thread) != '\0') {
        if (!is_ending(thread) || std::chrono::steady_clock::now() > until) return thread;
        std::this_thread::sleep_for(kEndLook);
      }
  return std::nullopt;
}

// One that was killed late in the restore: its parent, which would tell CRIU, has all signals blocked by then.
std::optional<pid_t> killed_unseen(const RestoreRequest& request, const std::vector<StoredProcess>& processes) {
  for (const auto& process : processes)
    if (process_state(process.pid) == 'Z' && lived_when_stored(request.images, process.pid)) return process.pid;
  return std::nullopt;
}

bool waits_before_it_runs(const RestoreRequest& request) { return !request.paged.empty() || request.before_it_runs; }

// Of a tree that CRIU has restored and left stopped as a whole.
void let_run(const RestoreRequest& request, const std::vector<StoredProcess>& processes) {
  std::vector<pid_t> running;
  for (const auto& process : processes)
    if (ran_when_stored(request.images, process.pid)) running.push_back(process.pid);
  if (request.before_it_runs) request.before_it_runs(processes[0].pid);
  if (!running.empty()) thaw(running, request.paged, request.heap, request.prefetch);
}

// The images as they are, but for one file.
std::string edited_images(const RestoreRequest& request, const std::string& work) {
  namespace fs = std::filesystem;
  const std::string folder = work + "/images";
  fs::create_directory(folder);
  for (const auto& entry : fs::directory_iterator(request.images))
    if (entry.path().filename() != "files.img")
      fs::create_symlink(fs::absolute(entry.path()), folder / entry.path().filename());
  write_edited_files(request.images, request.files, folder + "/files.img");
  return folder;
}

CriuStart restore_start(const RestoreRequest& request, const std::string& work) {
  CriuStart start;
  start.arguments = common_options("restore", kLog);
  const std::string images = request.files.empty() ? request.images : edited_images(request, work);
  for (const auto& word : {std::string("-D"), images, std::string("-W"), work, std::string("--restore-detached"),
                           std::string("--restore-sibling")})
    start.arguments.push_back(word);
  if (waits_before_it_runs(request)) start.arguments.push_back("--leave-stopped");
  if (request.tcp_established) start.arguments.push_back("--tcp-established");
  for (const auto& inherited : request.inherited) {
    start.arguments.push_back("--inherit-fd");
    start.arguments.push_back(fmt::format("fd[{}]:{}", inherited.descriptor, inherited.what));
    start.descriptors.push_back(inherited.descriptor);
  }
  start.input = request.terminal;
  start.output = work + "/" + kCriuOutput;
  start.ends_with_us = true;
  start.own_session = has_foreign_session(getpid());
  return start;
}

}  // namespace

RestoreRequest restore_request(const std::string& images, const JobRecord& job) {
  RestoreRequest request;
  request.images = images;
  request.tcp_established = job.tcp;
  if (job.paged.empty()) return request;
  // One that was killed between the sealing of its heap and its own freeze comes back as one that has ended.
  for (const auto& process : stored_processes(images))
    if (std::count(job.paged.begin(), job.paged.end(), process.pid) > 0 && lived_when_stored(images, process.pid))
      request.paged.push_back(process.pid);
  request.heap = std::filesystem::path(images).parent_path() / "heap";
  request.files.moved_from = job.heap;
  request.files.moved_to = request.heap;
  return request;
}

Restored restore(const RestoreRequest& request) {
  const auto processes = stored_processes(request.images);
  for (int tries = 1;; ++tries) {
    WorkFolder work;
    RestoreGuard guard(request.images, processes, work.path());
    const auto id = id_in_use(processes);
    if (id && process_state(*id) == 'Z')
      throw Failure(fmt::format(
          "PID {} of the job is that of a process ({}) that has ended, which its parent does not ask for; a "
          "container wants an init that does (docker run --init)",
          *id, process_name(*id)));
    if (id)
      throw Failure(fmt::format("PID {} of the job is in use by {}; start a copy with PIDs of its own: ebb clone", *id,
                                process_name(*id)));
    const CriuStart start = restore_start(request, work.path());
    failure_point("start criu");
    const pid_t criu = start_criu(start);
    const auto waited = wait_beside_criu(criu, -1, [&] { return killed_unseen(request, processes); });
    const int status = wait_for_end(criu);
    failure_point("criu ended");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      if (waits_before_it_runs(request)) let_run(request, processes);
      failure_point("restored");
      guard.release();
      const auto numbers = read_statistics(work.path() + "/stats-restore", 2, {3, 4, 5});
      return {processes[0].pid, {numbers[0], numbers[1], numbers[2]}};
    }
    guard.end_half_restored();
    if (waited.missed)
      throw Failure(
          fmt::format("cannot restore: process {} of the job was killed meanwhile, perhaps for want of memory (see: "
                      "dmesg); nothing "
                      "is left of the job, so try again",
                      *waited.missed));
    if (WIFSIGNALED(status))
      throw Failure(fmt::format("cannot restore: CRIU was killed (signal {}); nothing is left of the job, so try again",
                                WTERMSIG(status)));
    try {
      fail_with_log("cannot restore", kLog, &work);
    } catch (const Failure& failure) {
      if (tries == kTries || std::string(failure.what()).find("in use") == std::string::npos) throw;
      std::error_code ignored;
      std::filesystem::remove_all(work.path(), ignored);  // nobody is told of its log
    }
  }
}

}  // namespace ebb::snapshot
