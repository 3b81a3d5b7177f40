// The command `ebb` as a child of nobody. Rules: see tool.h.
#include "interpose/tool.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>

#include "base/lock.h"
#include "base/syscall.h"
#include "base/units.h"
#include "os/fd.h"

namespace ebb::interpose {
namespace {

constexpr size_t kStack = 32 * 1024;
constexpr int kSignals = 64;

// What would make the tool a program of the job.
constexpr std::string_view kNotForTools[] = {"LD_PRELOAD", "LD_AUDIT", "EBB_DRAM", "EBB_SLOW", "EBB_JOB"};

bool names(const char* entry, std::string_view name) {
  for (const char c : name)
    if (*entry++ != c) return false;
  return *entry == '=';
}

bool for_tools(const char* entry) {
  for (const auto name : kNotForTools)
    if (names(entry, name)) return false;
  return true;
}

struct Start {
  const char* path;
  const char* const* arguments;
  const char* const* environment;
  char* stack;                   // of the process that becomes the tool
  const char* said;              // "/proc/self/fd/N"
  long error;                    // what the first call that failed gave
  std::atomic<uint32_t> go;      // the process between has ended
  std::atomic<uint32_t> shares;  // the process that becomes the tool still has our memory; the kernel takes it back
};

constexpr int kPatienceSeconds = 10;  // nobody says go any more when the program was killed

// The kernel's struct sigaction.
struct Disposition {
  void* handler = nullptr;  // SIG_DFL
  unsigned long flags = 0;
  void* restorer = nullptr;
  uint64_t mask = 0;
};

// Nothing of the program is to run or to be held in the tool. Called with all signals blocked; handlers go before the
// first of them is let through.
long become_tool(const Start* start) {
  const Disposition none;
  for (int signal = 1; signal <= kSignals; ++signal)
    raw_syscall(SYS_rt_sigaction, signal, as_arg(&none), 0, sizeof none.mask);
  raw_syscall(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, as_arg(&none.mask), 0, sizeof none.mask);
  raw_syscall(SYS_setsid);
  // An opening of its own: the lock belongs to it, and ends with the last process that has it.
  const long said = raw_syscall(SYS_open, as_arg(start->said), O_RDWR);
  if (is_error(said)) return said;
  const long locked = raw_syscall(SYS_flock, said, LOCK_EX | LOCK_NB);
  if (is_error(locked)) return locked;
  const long nothing = raw_syscall(SYS_open, as_arg("/dev/null"), O_RDWR);
  if (is_error(nothing)) return nothing;
  // `said` may be a standard descriptor itself, where the program has closed them.
  const long high = raw_syscall(SYS_fcntl, said, F_DUPFD, STDERR_FILENO + 1);
  if (is_error(high)) return high;
  raw_syscall(SYS_dup2, nothing, STDIN_FILENO);
  raw_syscall(SYS_dup2, nothing, STDOUT_FILENO);
  raw_syscall(SYS_dup2, high, STDERR_FILENO);
  // What is left open here would keep the program's pipes open.
  raw_syscall(SYS_close_range, STDERR_FILENO + 1, UINT_MAX, 0);
  return raw_syscall(SYS_execve, as_arg(start->path), as_arg(start->arguments), as_arg(start->environment));
}

// A child that shares our memory, on a stack of its own; with CLONE_VFORK the caller waits for its end. That sends no
// signal, and only who asks for such children waits for it.
long start_sharing(long flags, char* stack_end, void (*run)(Start*), Start* start) {
  long result;
  register long r10 asm("r10") = as_arg(&start->shares);
  register long r8 asm("r8") = 0;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %[start], %%rdi\n\t"
      "call *%[run]\n\t"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(CLONE_VM | flags), "S"(stack_end), "d"(0), "r"(r10),
        "r"(r8), [start] "r"(start), [run] "r"(run)
      : "rcx", "r11", "memory");
  return result;
}

void run_tool(Start* start) {
  const timespec patience = {kPatienceSeconds, 0};
  while (start->go.load() == 0 &&
         raw_syscall(SYS_futex, as_arg(&start->go), FUTEX_WAIT, 0, as_arg(&patience)) != -ETIMEDOUT) {
  }
  start->error = become_tool(start);
  for (;;) raw_syscall(SYS_exit, 127);
}

// Ends at once: what becomes the tool is then nobody's child in our tree.
void run_between(Start* start) {
  start->shares.store(1);
  const long child = start_sharing(CLONE_CHILD_CLEARTID, start->stack, run_tool, start);
  if (is_error(child)) {
    start->error = child;
    start->shares.store(0);
  }
  for (;;) raw_syscall(SYS_exit, 0);
}

// [stack of the process between | stack of the tool | its environment]
class Room {
 public:
  Room() {
    size_t entries = 1;
    for (char** entry = environ; entry && *entry; ++entry) ++entries;
    bytes_ = 2 * kStack + align_up(entries * sizeof(char*), kPageSize);
    const long block =
        raw_syscall(SYS_mmap, 0, static_cast<long>(bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is_error(block)) return;
    block_ = reinterpret_cast<char*>(block);
    size_t kept = 0;
    for (char** entry = environ; entry && *entry && kept + 1 < entries; ++entry)
      if (for_tools(*entry)) environment()[kept++] = *entry;
  }
  ~Room() {
    if (block_) raw_syscall(SYS_munmap, as_arg(block_), static_cast<long>(bytes_));
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  bool valid() const { return block_; }
  char* first_stack() const { return block_ + kStack; }
  char* second_stack() const { return block_ + 2 * kStack; }
  const char** environment() const { return reinterpret_cast<const char**>(block_ + 2 * kStack); }

 private:
  char* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace

Tool::~Tool() {
  if (said_ >= 0) close_protected(said_);
}

Result<void> Tool::start(const char* path, const char* const* arguments) {
  const long file = raw_syscall(SYS_memfd_create, as_arg("ebbtide-tool"), MFD_CLOEXEC);
  if (is_error(file)) return Errno{static_cast<int>(-file)};
  const auto kept = protect_fd(static_cast<int>(file));
  if (!kept.ok()) return kept.error();
  said_ = kept.value();
  const Room room;
  if (!room.valid()) return Errno{ENOMEM};
  TextBuffer<32> said;
  said << "/proc/self/fd/" << said_;
  Start start = {path, arguments, room.environment(), room.second_stack(), said.c_str(), 0, {0}, {0}};
  const SignalsBlocked blocked;
  const long between = start_sharing(CLONE_VFORK, room.first_stack(), run_between, &start);
  if (is_error(between)) return Errno{static_cast<int>(-between)};
  while (raw_syscall(SYS_wait4, between, 0, __WALL, 0) == -EINTR) {
  }
  start.go.store(1);
  futex_wake(start.go, 1);
  while (start.shares.load() != 0) futex_wait(start.shares, 1);
  if (start.error) return Errno{static_cast<int>(-start.error)};
  return {};
}

void Tool::wait() {
  while (raw_syscall(SYS_flock, said_, LOCK_EX) == -EINTR) {
  }
}

std::string_view Tool::last_line(char* text, size_t size) const {
  const long end = raw_syscall(SYS_lseek, said_, 0, SEEK_END);
  const long from = end > static_cast<long>(size) ? end - static_cast<long>(size) : 0;
  const long n = raw_syscall(SYS_pread64, said_, as_arg(text), static_cast<long>(size), from);
  std::string_view line(text, is_error(n) ? 0 : static_cast<size_t>(n));
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  if (const size_t newline = line.rfind('\n'); newline != std::string_view::npos) line.remove_prefix(newline + 1);
  for (const std::string_view label : {std::string_view("ebb: "), std::string_view("error: ")})
    if (line.starts_with(label)) line.remove_prefix(label.size());
  return line;
}

const char* variable(std::string_view name) {
  for (char** entry = environ; entry && *entry; ++entry)
    if (names(*entry, name)) return *entry + name.size() + 1;
  return nullptr;
}

void find_command(TextBuffer<4096>* out) {
  if (const char* named = variable("EBB_COMMAND"); named && *named) {
    *out << named;
    return;
  }
  Dl_info library = {};
  if (!dladdr(reinterpret_cast<void*>(find_command), &library) || !library.dli_fname) return;
  const std::string_view file = library.dli_fname;
  const size_t slash = file.rfind('/');
  const std::string_view folder = slash == std::string_view::npos ? std::string_view(".") : file.substr(0, slash);
  for (const char* up : {"/../bin/ebb", "/../../bin/ebb", "/../../../bin/ebb"}) {
    TextBuffer<4096> path;
    path << folder << up;
    if (path.full() || is_error(raw_syscall(SYS_access, as_arg(path.c_str()), X_OK))) continue;
    *out = path;
    return;
  }
}

size_t read_file(const char* path, char* text, size_t size) {
  const long file = raw_syscall(SYS_open, as_arg(path), O_RDONLY | O_CLOEXEC);
  if (is_error(file)) return 0;
  const long n = raw_syscall(SYS_read, file, as_arg(text), static_cast<long>(size - 1));
  raw_syscall(SYS_close, file);
  const size_t length = is_error(n) ? 0 : static_cast<size_t>(n);
  text[length] = 0;
  return length;
}

}  // namespace ebb::interpose
