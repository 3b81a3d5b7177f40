// What `ebb clone --arg` gave this process: include/ebb/ebb.h.
//
// A clone finds it in a file of its temporary directory, which nobody else sees. Where that is the machine's /tmp, as
// in what is no clone, a file of that name is believed only if it is ours.
//
// Rules: as snapshot_api.cc. What was read once stays mapped: the program holds pointers into it.
#define EBB_API [[gnu::visibility("default")]]
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstring>

#include "base/lock.h"
#include "base/syscall.h"
#include "base/text.h"
#include "ebb/ebb.h"
#include "interpose/snapshot_api.h"
#include "interpose/tool.h"
#include "job/clone_file.h"

namespace ebb::interpose {
namespace {

constexpr size_t kMostBytes = size_t{16} << 20;

// "NAME=VALUE" with a NUL behind each; copied as "NAME" NUL "VALUE" NUL.
struct Arguments {
  char* text = nullptr;
  size_t bytes = 0;
  struct stat file = {};
};

constinit FutexLock g_lock;
constinit Arguments g_arguments;

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_size == b.st_size;
}

bool is_ours(const struct stat& file) {
  return S_ISREG(file.st_mode) && (file.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
         file.st_uid == static_cast<uid_t>(raw_syscall(SYS_geteuid));
}

void load(int file, const struct stat& info) {
  const auto bytes = static_cast<size_t>(info.st_size);
  if (bytes == 0 || bytes > kMostBytes) return;
  const long block = raw_syscall(SYS_mmap, 0, static_cast<long>(bytes + 1), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(block)) return;
  auto* text = reinterpret_cast<char*>(block);
  const long n = raw_syscall(SYS_pread64, file, block, static_cast<long>(bytes), 0);
  if (n != static_cast<long>(bytes)) {
    raw_syscall(SYS_munmap, block, static_cast<long>(bytes + 1));
    return;
  }
  for (char* entry = text; entry < text + bytes; entry += std::strlen(entry) + 1)
    if (char* equals = std::strchr(entry, '=')) {
      *equals = 0;
      entry = equals + 1;
    }
  g_arguments = {text, bytes, info};
}

// A process becomes a clone in the middle of its life: looks each time, reads when there is news. Under g_lock.
const Arguments& current() {
  const char* folder = variable("TMPDIR");
  TextBuffer<4096> path;
  path << (folder && *folder == '/' ? folder : "/tmp") << '/' << kCloneArguments;
  struct stat info = {};
  const long file = raw_syscall(SYS_open, as_arg(path.c_str()), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  const bool there = !is_error(file) && !is_error(raw_syscall(SYS_fstat, file, as_arg(&info))) && is_ours(info);
  if (!there || !same_file(info, g_arguments.file)) g_arguments = {};
  if (there && !g_arguments.text) load(static_cast<int>(file), info);
  if (!is_error(file)) raw_syscall(SYS_close, file);
  return g_arguments;
}

// Name and value of the argument at `index`, or of the one called `name`; {nullptr, nullptr} without one.
struct Argument {
  const char *name, *value;
};
Argument find(const char* name, unsigned index) {
  const Locked<FutexLock> locked(g_lock);
  const Arguments& all = current();
  for (const char* at = all.text; at && at < all.text + all.bytes;) {
    const char* value = at + std::strlen(at) + 1;
    if (name ? std::strcmp(at, name) == 0 : index-- == 0) return {at, value};
    at = value + std::strlen(value) + 1;
  }
  return {};
}

}  // namespace

void release_arguments_in_child() { g_lock.reset_in_child(); }

}  // namespace ebb::interpose

extern "C" {

const char* ebb_argument(const char* name) { return name ? ebb::interpose::find(name, 0).value : nullptr; }
const char* ebb_argument_name(unsigned index) { return ebb::interpose::find(nullptr, index).name; }

}  // extern "C"
