// `ebb run`: see run_command.h.
#include "tools/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "os/linux_pages.h"
#include "tools/console.h"
#include "tools/preload.h"
#include "tools/report.h"
#include "tools/restore_command.h"
#include "tools/run_options.h"
#include "tools/snapshot_place.h"

namespace ebb::tools {
namespace {

// R gives up at this much vector heap before it asks for memory; on some platforms the default is the size of DRAM.
// As good as no limit, in the form that R reads.
constexpr char kRVectorHeap[] = "1048576G";

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return value;
}

Verbosity choose_verbosity(const RunOptions& options) {
  if (options.verbosity) return *options.verbosity;
  const auto word = variable("EBB_VERBOSE");
  if (word == "0") return Verbosity::kQuiet;
  if (word == "2") return Verbosity::kVerbose;
  if (word && word != "1") throw Failure(fmt::format("EBB_VERBOSE: '{}' is not 0, 1 or 2", *word));
  return Verbosity::kNormal;
}

std::string current_folder() {
  char path[PATH_MAX];
  return getcwd(path, sizeof(path)) ? path : "";
}

uint64_t unix_ns() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

uint64_t monotonic_ns() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

// The variables of a run, over those of the caller.
class Environment {
 public:
  Environment() {
    for (char** entry = environ; *entry; ++entry) entries_.emplace_back(*entry);
  }
  void set(const std::string& name, const std::string& value) {
    std::erase_if(entries_, [&](const std::string& e) { return e.compare(0, name.size() + 1, name + "=") == 0; });
    entries_.push_back(name + "=" + value);
  }
  const std::vector<std::string>& entries() const { return entries_; }

 private:
  std::vector<std::string> entries_;
};

// One run from its options to its exit code.
class Run {
 public:
  explicit Run(RunOptions options) : options_(std::move(options)), console_(choose_verbosity(options_)) {
    record_.name = options_.name;
    record_.argv = options_.command;
    record_.working_directory = current_folder();
  }

  int go() {
    if (!options_.resume.empty() && with_snapshot_errors([&] { return has_snapshot(options_.resume); }))
      return resume();
    record_.program = find_program(options_.command[0], std::getenv("PATH"));
    check_report_file();
    plan_library();
    open_tiers();
    open_job();
    set_variables();
    start_and_wait();
    return finish();
  }

 private:
  void warn(const std::string& text) {
    record_.warnings.push_back(text);
    console_.warn(text);
  }

  // Whatever the snapshot holds comes back, its budget, too.
  int resume() {
    console_.note(fmt::format("restoring the snapshot {} instead of starting {}", options_.resume,
                              shell_quoted(options_.command[0])));
    if (!options_.report.empty()) warn("--report: there is no report of a job that was restored");
    RestoreOptions restoring;
    restoring.tag = options_.resume;
    SignalledSnapshots snapshots(options_.snapshot_on, console_.verbosity());
    return restore_job(restoring, filter(&snapshots));
  }

  SignalFilter filter(SignalledSnapshots* snapshots) const {
    if (!options_.snapshot_on) return {};
    return [snapshots](int signal, pid_t job) { return snapshots->take(signal, job); };
  }

  void check_report_file() {
    if (options_.report.empty()) return;
    const std::string obstacle = report_obstacle(options_.report);
    if (!obstacle.empty()) throw Failure(fmt::format("--report: cannot write {}: {}", options_.report, obstacle));
  }

  // Decides whether the library goes in.
  void plan_library() {
    const Program& program = record_.program;
    if (program.help == Help::kNone) {
      console_.note(fmt::format("Ebbtide cannot help {}: {}; it runs untouched", options_.command[0], program.reason));
      return;
    }
    record_.library = find_library();
    preload_ = plan_preload(record_.library, variable("LD_PRELOAD").value_or(""));
    if (!preload_.sanitizer.empty()) {
      record_.program.reason = preload_.sanitizer + " is in LD_PRELOAD and must come first";
      console_.note(fmt::format("Ebbtide stays out: {}; the program runs untouched", record_.program.reason));
      record_.library.clear();
      return;
    }
    if (program.help == Help::kChildrenOnly)
      console_.note(
          fmt::format("Ebbtide cannot help {} itself: {}; it runs untouched (programs that it starts are managed)",
                      options_.command[0], program.reason));
    if (!preload_.others.empty())
      warn(fmt::format("{} in LD_PRELOAD is kept, but Ebbtide's malloc comes first", fmt::join(preload_.others, ", ")));
    if (variable(kJobVariable)) warn("a run inside a run: this job gets a budget of its own, beside the outer one's");
    record_.managed = true;
    const auto fault_fd = open_userfaultfd(nullptr);
    if (fault_fd.ok())
      close(fault_fd.value());
    else
      warn(
          fmt::format("nothing can be paged here ({}): the program runs as it would without Ebbtide, with no budget; "
                      "see: ebb doctor",
                      error_text(fault_fd.error().value)));
  }

  void open_tiers() {
    std::vector<std::string> specs = options_.slow;
    std::string source = "--slow";
    if (specs.empty()) {
      source = "EBB_SLOW";
      std::string list = variable("EBB_SLOW").value_or("");
      for (size_t end; !list.empty(); list.erase(0, end == std::string::npos ? end : end + 1))
        specs.push_back(list.substr(0, end = list.find(',')));
    }
    for (const auto& spec : specs) record_.tiers.push_back(open_tier(spec, source));
    if (specs.size() > 1) warn("several tiers are named; this version uses the first one only");
    default_tier_ = specs.empty();
    if (default_tier_ && record_.managed)
      record_.tiers.push_back(open_default_tier(default_tier_path(tier_environment_here(), geteuid())));
  }

  void open_job() {
    std::optional<std::string> dram = options_.dram;
    std::string source = "--dram";
    if (!dram && (dram = variable("EBB_DRAM"))) source = "EBB_DRAM";
    if (!record_.managed && !dram) return;

    // Jobs of one user that start together see each other's promises, one after the other.
    Fd turn;
    if (!dram) {
      turn.reset(open(record_.tiers[0].path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (turn.valid()) flock(turn.get(), LOCK_EX);  // not to be had on every file system: then without
    }
    const Promises others = other_promises();
    record_.budget = choose_budget(dram, source, memory_here(), others.bytes, others.jobs);
    page_ = std::make_unique<JobPage>(record_.budget.bytes);
    // Who names a snapshot beforehand will make one.
    page_->control()->clean_ahead.store(options_.clean_ahead || options_.snapshot_on || !options_.resume.empty());
    if (!record_.managed) return;

    for (const auto& text : record_.budget.warnings) warn(text);
    for (const auto& tier : record_.tiers)
      for (const auto& text : tier_warnings(tier, record_.budget.bytes)) warn(text);
    const std::string first =
        fmt::format("DRAM budget {}{}; slow tier {}, {} free", readable(record_.budget.bytes),
                    record_.budget.explanation.empty() ? "" : " (" + record_.budget.explanation + ")",
                    record_.tiers[0].spec(), readable(record_.tiers[0].free));
    if (!dram || default_tier_)
      console_.note(first);
    else
      console_.detail(first);
  }

  void set_variables() {
    if (!record_.managed) return;
    std::vector<std::string> specs;
    for (const auto& tier : record_.tiers) specs.push_back(tier.spec());
    environment_.set("LD_PRELOAD", preload_.value);
    environment_.set("EBB_DRAM", fmt::format("{}B", record_.budget.bytes.count));
    environment_.set("EBB_SLOW", fmt::format("{}", fmt::join(specs, ",")));
    environment_.set(kJobVariable, page_->path());
    environment_.set("EBB_VERBOSE", std::to_string(static_cast<int>(console_.verbosity())));
    if (!variable("R_MAX_VSIZE")) environment_.set("R_MAX_VSIZE", kRVectorHeap);
    for (const char* name : {"LD_PRELOAD", "EBB_DRAM", "EBB_SLOW", kJobVariable})
      for (const auto& entry : environment_.entries())
        if (entry.rfind(std::string(name) + "=", 0) == 0) console_.detail(entry);
  }

  void start_and_wait() {
    record_.started_unix_ns = unix_ns();
    const uint64_t start = monotonic_ns();
    {
      SignalledSnapshots snapshots(options_.snapshot_on, console_.verbosity());
      record_.end = run_child(options_.command, environment_.entries(), filter(&snapshots));
    }
    record_.wall_ns = monotonic_ns() - start;
    record_.finished_unix_ns = unix_ns();
    if (record_.end.exec_error) {
      const auto failure = describe_exec_failure(options_.command[0], record_.program.path, record_.end.exec_error);
      throw Failure(failure.text, failure.exit_code);
    }
    if (page_) {
      record_.counts = page_->read();
      record_.survivors = page_->members();
    }
  }

  // The program's exit code wins over our own trouble with the report: whoever looks at one code wants that of the
  // program when it failed. Only a success is not called one when the report that was asked for is missing.
  int finish() {
    for (const auto& text : summary_lines(record_)) console_.note(text);
    if (record_.counts.errors() && console_.verbosity() == Verbosity::kQuiet)
      for (const auto& text : record_.counts.messages) console_.error(text);
    int code = record_.end.exit_code();
    if (!options_.report.empty()) {
      const std::string reason = write_report(options_.report, report_json(record_));
      if (!reason.empty()) {
        console_.error(fmt::format("--report: cannot write {}: {}", options_.report, reason));
        if (code == kExitOk) code = kExitOurs;
      }
    }
    die_like(record_.end);
    return code;
  }

  RunOptions options_;
  Console console_;
  RunRecord record_;
  PreloadPlan preload_;
  Environment environment_;
  std::unique_ptr<JobPage> page_;
  bool default_tier_ = false;
};

}  // namespace

int run_command(const std::vector<std::string>& arguments) {
  RunOptions options = parse_run(arguments);
  if (options.help) {
    write_all(STDOUT_FILENO, *options.help);
    return kExitOk;
  }
  return Run(std::move(options)).go();
}

}  // namespace ebb::tools
