#include "base/log.h"

#include <sys/stat.h>
#include <atomic>
#include <cerrno>

#include "base/check.h"
#include "base/syscall.h"

namespace ebb {
namespace {

constinit std::atomic<int> g_level{static_cast<int>(LogLevel::kWarning)};
constinit std::atomic<int> g_lines{0};

struct FileIdentity {
  uint64_t device = 0, inode = 0;
  bool known = false;
  bool operator==(const FileIdentity&) const = default;
};
constinit FileIdentity g_stderr;

FileIdentity identity_of_stderr() {
  struct stat st = {};
  if (is_error(raw_syscall(SYS_fstat, 2, as_arg(&st)))) return {};
  return {st.st_dev, st.st_ino, true};
}

void write_line(std::string_view text) {
  if (g_stderr.known && !(identity_of_stderr() == g_stderr)) return;
  TextBuffer<600> line;
  line << "ebbtide: " << text << '\n';
  (void)raw_syscall(SYS_write, 2, as_arg(line.view().data()), static_cast<long>(line.view().size()));
}

}  // namespace

void remember_stderr() { g_stderr = identity_of_stderr(); }

void set_log_level(LogLevel level) { g_level.store(static_cast<int>(level), std::memory_order_relaxed); }
LogLevel log_level() { return static_cast<LogLevel>(g_level.load(std::memory_order_relaxed)); }

void log_text(LogLevel level, std::string_view text) {
  if (level > log_level()) return;
  const int line = g_lines.fetch_add(1, std::memory_order_relaxed);
  if (line < kMaxLines) write_line(text);
  if (line == kMaxLines) write_line("further messages of this process are dropped");
}

const char* errno_name(int error) {
  switch (error) {
    case EPERM:
      return "EPERM";
    case ENOENT:
      return "ENOENT";
    case EINTR:
      return "EINTR";
    case EIO:
      return "EIO";
    case EAGAIN:
      return "EAGAIN";
    case ENOMEM:
      return "ENOMEM";
    case EACCES:
      return "EACCES";
    case EFAULT:
      return "EFAULT";
    case EBUSY:
      return "EBUSY";
    case EEXIST:
      return "EEXIST";
    case ENODEV:
      return "ENODEV";
    case ENOTDIR:
      return "ENOTDIR";
    case EISDIR:
      return "EISDIR";
    case EINVAL:
      return "EINVAL";
    case EMFILE:
      return "EMFILE";
    case EFBIG:
      return "EFBIG";
    case ENOSPC:
      return "ENOSPC";
    case EROFS:
      return "EROFS";
    case ENOSYS:
      return "ENOSYS";
    case EOPNOTSUPP:
      return "EOPNOTSUPP";
    case EDQUOT:
      return "EDQUOT";
    case EBADMSG:
      return "EBADMSG";
    default:
      return "error";
  }
}

void check_failed(const char* what, const char* file, int line) {
  TextBuffer<400> text;
  text << "internal error: " << what << " (" << file << ':' << line << "); please report this";
  write_line(text.view());
  // SIGABRT with its default action, blocked or not: a core shows the state as it is, while a handler of the program
  // would wait for locks that we hold, or run in the pager's thread, where nothing of libc works.
  const uint64_t action[4] = {};  // struct sigaction as the kernel has it; SIG_DFL
  const uint64_t abort_only = uint64_t{1} << 5;
  raw_syscall(SYS_rt_sigaction, 6, as_arg(action), 0, sizeof abort_only);
  raw_syscall(SYS_rt_sigprocmask, 1 /* SIG_UNBLOCK */, as_arg(&abort_only), 0, sizeof abort_only);
  const long pid = raw_syscall(SYS_getpid);
  raw_syscall(SYS_tgkill, pid, raw_syscall(SYS_gettid), 6);
  for (;;) raw_syscall(SYS_exit_group, 134);
}

}  // namespace ebb
