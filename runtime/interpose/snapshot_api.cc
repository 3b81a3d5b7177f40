// The program's own interface to snapshots: include/ebb/ebb.h.
//
// A call has the command `ebb` take the snapshot, from outside of the process tree, and waits for its end. A process
// that was restored from the snapshot wakes up in the same wait. It is a new task for the kernel, with another time of
// birth; that is how it knows.
//
// Rules: functions that the program calls, no hooks; they wait, but never under a lock of the engine, and allocate
// nothing. They work in any process that has the library, also where the engine is off.
#define EBB_API [[gnu::visibility("default")]]
#include "ebb/ebb.h"

#include <atomic>
#include <cstring>

#include "base/lock.h"
#include "base/log.h"
#include "base/syscall.h"
#include "base/text.h"
#include "interpose/snapshot_api.h"
#include "interpose/tool.h"

namespace ebb::interpose {
namespace {

constexpr unsigned kMostHooks = 64;
constexpr std::string_view kDone = "done";  // what `ebb snapshot --inside` says at its end
constexpr unsigned kAllFlags = EBB_REPLACE | EBB_PERSISTED;

struct Hook {
  void (*function)(void*);
  void* data;
};
// Grows only, so whoever runs the hooks needs no lock.
struct Hooks {
  Hook table[kMostHooks];
  std::atomic<unsigned> count;
};

constinit Hooks g_before = {}, g_after = {}, g_restored = {};
constinit FutexLock g_hooks_lock, g_call_lock;
constinit std::atomic<long> g_caller{0};  // the thread that holds g_call_lock
constinit char g_error[1024] = "";        // written under g_call_lock

template <class... Parts>
int failed(const Parts&... parts) {
  TextBuffer<sizeof(g_error)> text;
  (text << ... << parts);
  std::memcpy(g_error, text.c_str(), text.view().size() + 1);
  return EBB_ERROR;
}

int add(Hooks* hooks, void (*function)(void*), void* data) {
  const Locked<FutexLock> locked(g_hooks_lock);
  const unsigned count = hooks->count.load();
  if (!function || count == kMostHooks) return EBB_ERROR;
  hooks->table[count] = {function, data};
  hooks->count.store(count + 1);
  return 0;
}

void run_in_order(const Hooks& hooks) {
  for (unsigned i = 0; i < hooks.count.load(); ++i) hooks.table[i].function(hooks.table[i].data);
}
void run_backwards(const Hooks& hooks) {
  for (unsigned i = hooks.count.load(); i-- > 0;) hooks.table[i].function(hooks.table[i].data);
}

// Which task this process is for the kernel. A restored one has another time of birth, under this boot or another.
struct Identity {
  uint64_t born = 0;  // since the boot, in clock ticks; 0: cannot be read
  char boot[64] = "";

  Identity() {
    constexpr int kBorn = 22, kState = 3;  // fields of /proc/PID/stat; the second is a name, which may hold anything
    char text[1024];
    read_file("/proc/self/stat", text, sizeof(text));
    const char* at = std::strrchr(text, ')');
    for (int field = kState - 1; at && field < kBorn; ++field) at = std::strchr(at + 1, ' ');
    if (at)
      for (++at; *at >= '0' && *at <= '9'; ++at) born = born * 10 + static_cast<uint64_t>(*at - '0');
    read_file("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
  }
  bool operator==(const Identity& other) const { return born == other.born && std::strcmp(boot, other.boot) == 0; }
};

int take(const char* tag, unsigned flags) {
  const Identity before;
  if (!before.born) return failed("/proc is not there: no snapshot without it");
  TextBuffer<4096> command;
  find_command(&command);
  if (command.view().empty())
    return failed("the command ebb is not where it was installed, beside libebbtide.so: set EBB_COMMAND to its path");
  TextBuffer<16> pid;
  pid << raw_syscall(SYS_getpid);
  const char* arguments[12] = {"ebb", "snapshot", "--inside", "-q"};
  unsigned count = 4;
  if (flags & EBB_REPLACE) arguments[count++] = "--replace";
  if (flags & EBB_PERSISTED) arguments[count++] = "--wait=persisted";
  for (const char* word : {"--", static_cast<const char*>(pid.c_str()), tag}) arguments[count++] = word;

  Tool tool;
  if (const auto started = tool.start(command.c_str(), arguments); !started.ok())
    return failed("cannot start ", command.view(), ": ", errno_name(started.error().value));
  tool.wait();
  if (!(Identity() == before)) return EBB_RESTORED;
  char text[sizeof(g_error)];
  const std::string_view line = tool.last_line(text, sizeof(text));
  if (line == kDone) return EBB_RUNNING;
  return line.empty() ? failed("the command ebb was killed before the snapshot was complete") : failed(line);
}

int snapshot(const char* tag, unsigned flags) {
  const long self = raw_syscall(SYS_gettid);
  if (g_caller.load() == self) return failed("ebb_snapshot() was called by a hook of ebb_snapshot()");
  const Locked<FutexLock> locked(g_call_lock);
  if (!tag || flags & ~kAllFlags) return failed(tag ? "unknown flags" : "no tag given");
  g_caller.store(self);
  run_backwards(g_before);
  const int result = take(tag, flags);
  run_in_order(result == EBB_RESTORED ? g_restored : g_after);
  g_caller.store(0);
  return result;
}

}  // namespace

void release_in_child() {
  if (g_caller.load() != 0) g_caller.store(0);
  g_hooks_lock.reset_in_child();
  g_call_lock.reset_in_child();
}

}  // namespace ebb::interpose

extern "C" {

int ebb_snapshot(const char* tag, unsigned flags) { return ebb::interpose::snapshot(tag, flags); }
const char* ebb_last_error() { return ebb::interpose::g_error; }

int ebb_before_snapshot(void (*hook)(void*), void* data) {
  return ebb::interpose::add(&ebb::interpose::g_before, hook, data);
}
int ebb_after_snapshot(void (*hook)(void*), void* data) {
  return ebb::interpose::add(&ebb::interpose::g_after, hook, data);
}
int ebb_after_restore(void (*hook)(void*), void* data) {
  return ebb::interpose::add(&ebb::interpose::g_restored, hook, data);
}

}  // extern "C"
