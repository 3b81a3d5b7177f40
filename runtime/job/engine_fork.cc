// The engine: start-up and fork. Rules: see engine.h.
#include <cerrno>

#include "base/log.h"
#include "base/size.h"
#include "base/syscall.h"
#include "job/state.h"

namespace ebb::engine {
namespace {

std::string_view variable(char** environment, std::string_view name) {
  for (char** e = environment; e && *e; ++e) {
    const std::string_view text = *e;
    if (text.size() > name.size() && text[name.size()] == '=' && text.substr(0, name.size()) == name)
      return text.substr(name.size() + 1);
  }
  return {};
}

bool copy_to(char* to, size_t room, std::string_view text) {
  if (text.size() >= room) return false;
  __builtin_memcpy(to, text.data(), text.size());
  to[text.size()] = 0;
  return true;
}

// MemTotal, for a budget in percent; `ebb run` always passes bytes.
Bytes memory_of_machine() {
  struct {
    long uptime;
    unsigned long loads[3], total_ram, rest[16];
  } info = {};
  raw_syscall(SYS_sysinfo, as_arg(&info));
  return {info.total_ram};
}

// The first tier of EBB_SLOW; others are for later versions.
bool read_tier(State& s, std::string_view spec) {
  if (spec.empty()) spec = "file:/var/tmp";
  spec = spec.substr(0, spec.find(','));
  if (spec.substr(0, 5) != "file:" || spec.size() == 5 || spec[5] != '/') {
    log_line(LogLevel::kWarning, "EBB_SLOW=", spec,
             " is not understood (say file:/ABSOLUTE/PATH): running without tiering");
    return false;
  }
  return copy_to(s.slow, sizeof s.slow, spec.substr(5));
}

struct Forking {
  uint64_t mask = 0;
  bool paged = false;
  uint64_t begun_fork = 0;  // of Budget
  bool begun = false;       // fork_prepare holds the locks, whatever has become of the mode since
};
constinit Forking g_forking;  // under fork_lock
constinit StackHold g_stack;

void rebuild_after_fork(State& s) {
  s.wake.reset();
  s.ring.close();
  s.pages.close();
  Errno failed = reopen_pager(s);
  if (!failed) failed = s.pager.rearm(kAllAddresses);
  if (!failed) s.pager.protect_shared();
  if (!failed) failed = start_pager_thread(s);
  if (!failed) return;
  // Cold pages of this child can never be brought back: better an end with a reason than a wrong byte.
  log_line(LogLevel::kError, "cannot rebuild the pager in a fork child (", errno_name(failed.value),
           "); its memory is not complete, so it ends here. See `ebb doctor`: limits on descriptors, memory, threads");
  raw_syscall(SYS_exit_group, 125);
}

}  // namespace

void boot(char** environment) {
  State& s = state();
  const std::string_view dram = variable(environment, "EBB_DRAM");
  if (dram.empty()) return;
  remember_stderr();
  const std::string_view verbose = variable(environment, "EBB_VERBOSE");
  if (verbose.size() == 1 && verbose[0] >= '0' && verbose[0] <= '2')
    set_log_level(static_cast<LogLevel>(verbose[0] - '0'));
  const SizeSpec size = parse_size(dram, true);
  if (size.error != SizeError::kNone) {
    log_line(LogLevel::kWarning, "EBB_DRAM=", dram, ' ', describe(size.error), "; running without tiering");
    return;
  }
  s.budget = size.is_percent ? percent_of(size.percent_e6, memory_of_machine()) : size.bytes;
  if (s.budget < kSmallestBudget) {
    log_line(LogLevel::kWarning, "EBB_DRAM=", dram, " is less than ", kSmallestBudget, "; running without tiering");
    return;
  }
  if (!read_tier(s, variable(environment, "EBB_SLOW"))) return;
  const std::string_view job = variable(environment, kJobVariable);
  s.whole_job = !job.empty();
  if (s.whole_job && !copy_to(s.job_path, sizeof s.job_path, job)) return;
  const std::string_view ahead = variable(environment, "EBB_CLEAN_AHEAD");
  s.clean_ahead = !s.whole_job && ahead == "1";
  if (!ahead.empty() && ahead != "0" && ahead != "1")
    log_line(LogLevel::kWarning, "EBB_CLEAN_AHEAD=", ahead, " is neither 0 nor 1; nothing is cleaned ahead");
  s.mode.store(Mode::kFreeRun);
}

void fork_prepare() {
  State& s = state();
  if (!enabled()) return;
  // Blocked before the first lock: a handler that forks would wait for us.
  const uint64_t all = ~uint64_t{0};
  uint64_t mask = 0;
  raw_syscall(SYS_rt_sigprocmask, 2, as_arg(&all), as_arg(&mask), sizeof mask);
  s.fork_lock.lock();
  g_stack.hold();
  s.hooks_waiting.fetch_add(1);
  s.lock.lock();
  s.hooks_waiting.fetch_sub(1);
  if (s.job.attached()) s.job.keep_lock();  // the child looks at the slots that others have
  // A child of a free-running process is charged for all that it inherits, one of a paged process for what it writes.
  constexpr uint64_t kChildren = 16;
  if (s.mode.load() == Mode::kFreeRun && s.job.attached() &&
      s.share.managed() + Bytes{to_bytes(s.share.own()).count * kChildren} > s.share.limit())
    (void)start_paging(s);
  g_forking = {.mask = mask, .paged = s.mode.load() == Mode::kPaged, .begun = true};
  if (g_forking.paged) {
    // Nothing under way, nothing out of sight: what the child inherits is complete.
    s.forker.store(static_cast<uint32_t>(raw_syscall(SYS_gettid)));
    s.park.store(1);
    s.lock.unlock();
    wake_pager(s);
    while (s.park.load() != 2) futex_wait(s.park, 1);
    s.lock.lock();
    s.store.seal();
    g_forking.begun_fork = s.share.begin_fork(s.clock.now_ns());
    s.pager.share();
    s.pager.set_inherited(true);
  }
}

namespace {
void leave(State& s) {
  const uint64_t mask = g_forking.mask;
  g_forking = {};
  s.lock.unlock();
  s.fork_lock.unlock();
  raw_syscall(SYS_rt_sigprocmask, 2, as_arg(&mask), 0, sizeof mask);
}
}  // namespace

void fork_parent() {
  State& s = state();
  if (!g_forking.begun) return;
  if (g_forking.paged) {
    s.pager.set_inherited(false);
    s.park.store(0);
    wake_pager(s);
  }
  g_stack.release();
  leave(s);
}

void fork_child() {
  State& s = state();
  if (!g_forking.begun) return;
  s.lock.reset_held_by_caller();
  s.fork_lock.reset_held_by_caller();
  s.hooks_waiting.store(0);
  s.settling.store(0);
  g_stack.forget();
  if (s.job.attached()) {
    if (const Errno e = s.job.take_slot()) {
      log_line(LogLevel::kError, "the job has too many processes (", errno_name(e.value), "); this one ends here");
      raw_syscall(SYS_exit_group, 125);
    }
    s.share.attach(s.job.control(), s.job.slot());
    s.pager.recount();
    if (g_forking.paged) {
      s.job.slot().paged.store(1);
      s.share.counters().paged_processes.fetch_add(1);
      s.share.end_fork(g_forking.begun_fork);
      s.store.become_child();
      s.store_bytes_seen = 0;
      rebuild_after_fork(s);
    }
  }
  leave(s);
}

}  // namespace ebb::engine
