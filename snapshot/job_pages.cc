// The control pages of the jobs that a process tree belongs to: see job_pages.h.
#include "snapshot/job_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <ctime>
#include <optional>
#include <thread>

#include "snapshot/space.h"
#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::snapshot {
namespace {

using tools::error_text;
using tools::Failure;
using tools::SystemFiles;

constexpr char kMemfdLink[] = "/memfd:ebbtide-job";  // how /proc/PID/fd shows a page
constexpr std::chrono::milliseconds kLook{100};
// What a tool left behind that died: the processes notice by themselves.
constexpr std::chrono::seconds kRecovery{10};
// How long processes may take from a fork to a pager of their own, and how often they are looked at.
constexpr std::chrono::seconds kStartPatience{2};
constexpr std::chrono::milliseconds kStartLook{1};

const char* word(Freeze step) {
  switch (step) {
    case Freeze::kNone:
      return "nothing";
    case Freeze::kClean:
      return "write its heap ahead";
    case Freeze::kShow:
      return "tell where its heap is";
    case Freeze::kHold:
      return "hold its mapping calls";
    case Freeze::kSeal:
      return "seal its heap";
    case Freeze::kFree:
      return "free what it has sealed";
    case Freeze::kResume:
      return "take its heap back";
    case Freeze::kAbort:
      return "go on";
  }
  return "";
}

// Both sides see the same page of a file, so these are no private futexes.
void wake(std::atomic<Freeze>* word) { syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

// False when nobody woke us in time.
bool sleep_on(const std::atomic<Freeze>* word, Freeze seen) {
  constexpr timespec kTime = {0, std::chrono::nanoseconds(kLook).count()};
  return syscall(SYS_futex, word, FUTEX_WAIT, static_cast<uint32_t>(seen), &kTime, nullptr, 0) == 0 ||
         errno != ETIMEDOUT;
}

// Its pager may sleep where only I/O and this eventfd wake it.
void ring(const PagedProcess& process) {
  const int number = process.freeze().wake.load(std::memory_order_acquire);
  if (number < 0) return;
  const Fd bell = descriptor_of(process.pid, number);
  if (!bell.valid()) {
    if (errno == ESRCH || errno == EBADF) return;  // it ended, which await() finds out
    throw Failure(fmt::format("cannot reach {}: {}", told(process), error_text(errno)));
  }
  constexpr uint64_t kOne = 1;
  if (write(bell.get(), &kOne, sizeof(kOne)) < 0 && errno != EAGAIN)
    throw Failure(fmt::format("cannot wake {}: {}", told(process), error_text(errno)));
}

void lock(ControlPage* page) {
  if (!page->lock()) throw Failure("another ebb freezes or restores this job: try again when it is done");
}

bool is_gone(const PagedProcess& process) {
  return has_ended(process.pid) || (process.owned && !process.page->has_owner(process.slot));
}

// A slot may still have the number of a process that is long gone. One whose pager does not take requests is not for
// us: its userfaultfd will be refused.
std::optional<PagedProcess> paged_process(pid_t pid, pid_t inside, ControlPage* page) {
  std::optional<PagedProcess> out;
  for (unsigned i = 0; i < kJobSlots; ++i) {
    const JobSlot& slot = page->control().slot[i];
    if (slot.pid.load(std::memory_order_relaxed) != inside || slot.paged.load(std::memory_order_acquire) != 1) continue;
    const PagedProcess process{pid, page, i, page->has_owner(i)};
    if (pager_thread(process) != 0 && (!out || process.owned)) out = process;
  }
  return out;
}

}  // namespace

std::unique_ptr<ControlPage> ControlPage::open(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat info = {};
  if (!file.valid() || fstat(file.get(), &info) != 0 || info.st_size != sizeof(JobControl)) return nullptr;
  void* const at = mmap(nullptr, sizeof(JobControl), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return nullptr;
  std::unique_ptr<ControlPage> page(new ControlPage(std::move(file), static_cast<JobControl*>(at)));
  const JobControl& control = page->control();
  if (control.magic != kControlMagic || control.version != kControlVersion || control.size != sizeof(JobControl))
    return nullptr;
  return page;
}

ControlPage::~ControlPage() { munmap(control_, sizeof(JobControl)); }

bool ControlPage::has_owner(unsigned slot) const {
  auto lock = byte_lock(slot, F_WRLCK);
  return fcntl(file_.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool ControlPage::lock() {
  auto lock = byte_lock(kFreezerByte, F_WRLCK);
  return fcntl(file_.get(), F_OFD_SETLK, &lock) == 0;
}

void ControlPage::unlock() {
  auto lock = byte_lock(kFreezerByte, F_UNLCK);
  fcntl(file_.get(), F_OFD_SETLK, &lock);
}

std::string told(const PagedProcess& process) {
  return fmt::format("process {} ({})", process.pid, process_name(process.pid));
}

std::vector<PagedProcess> JobPages::find(const std::vector<pid_t>& pids) {
  std::vector<PagedProcess> found;
  for (const pid_t pid : pids) {
    const auto known = [pid](const PagedProcess& process) { return process.pid == pid; };
    const auto numbers = namespace_pids(pid);
    if (numbers.empty() || std::any_of(processes_.begin(), processes_.end(), known)) continue;
    const std::string folder = fmt::format("/proc/{}/fd", pid);
    for (const auto& name : SystemFiles().names(folder)) {
      const std::string path = folder + "/" + name;
      char target[sizeof(kMemfdLink)] = {};
      struct stat info = {};
      if (readlink(path.c_str(), target, sizeof(target) - 1) < 0 || std::strcmp(target, kMemfdLink) != 0 ||
          stat(path.c_str(), &info) != 0)
        continue;
      const auto [at, is_new] = pages_.try_emplace({info.st_dev, info.st_ino});
      if (is_new) at->second = ControlPage::open(path);
      ControlPage* const page = at->second.get();
      if (!page) continue;
      const auto process = paged_process(pid, numbers.back(), page);
      if (!process) continue;
      take(page);
      found.push_back(*process);
      processes_.push_back(*process);
      break;
    }
  }
  return found;
}

JobPages::Found JobPages::find_below(pid_t root) {
  const auto until = std::chrono::steady_clock::now() + kStartPatience;
  Found out;
  for (;;) {
    out.tree = read_tree(root);
    for (const auto& process : find(out.tree.pids)) out.fresh.push_back(process);
    const bool passing =
        has_pager_files(out.tree, pids()) || std::any_of(out.tree.pids.begin(), out.tree.pids.end(), has_ended_in_part);
    if (!passing || std::chrono::steady_clock::now() > until) return out;
    std::this_thread::sleep_for(kStartLook);
  }
}

void JobPages::take(ControlPage* page) {
  if (std::find(locked_.begin(), locked_.end(), page) != locked_.end()) return;
  lock(page);
  locked_.push_back(page);
  if (!folder_.empty()) set_folder(folder_);
}

std::vector<pid_t> JobPages::pids() const {
  std::vector<pid_t> out;
  for (const auto& process : processes_) out.push_back(process.pid);
  return out;
}

void JobPages::forget(pid_t pid) {
  std::erase_if(processes_, [pid](const PagedProcess& process) { return process.pid == pid; });
}

void JobPages::wait_for_recovery() {
  const auto until = std::chrono::steady_clock::now() + kRecovery;
  for (const auto& process : processes_)
    while (process.freeze().request.load(std::memory_order_acquire) != Freeze::kNone && !is_gone(process)) {
      if (std::chrono::steady_clock::now() > until)
        throw Failure(
            fmt::format("{} has not yet gone on from a snapshot that was interrupted: try again", told(process)));
      process.page->unlock();  // that is what it looks at
      std::this_thread::sleep_for(kLook);
      lock(process.page);
    }
}

void JobPages::set_folder(const std::string& folder) {
  folder_ = folder;
  for (ControlPage* const page : locked_) {
    char(&target)[sizeof(JobControl::freeze_folder)] = page->control().freeze_folder;
    if (folder.size() >= sizeof(target))
      throw Failure(fmt::format("the path of the snapshot's folder is too long: {}", folder));
    std::memset(target, 0, sizeof(target));
    std::memcpy(target, folder.data(), folder.size());
  }
}

void JobPages::post(std::string_view text) {
  for (ControlPage* const page : locked_) page->control().post(text);
}

void ask(const PagedProcess& process, Freeze step) {
  if (is_gone(process)) return;  // which await() finds out
  JobFreeze& freeze = process.freeze();
  freeze.answer.store(Freeze::kNone, std::memory_order_relaxed);
  freeze.error.store(0, std::memory_order_relaxed);
  freeze.done.store(0, std::memory_order_relaxed);
  freeze.todo.store(0, std::memory_order_relaxed);
  freeze.request.store(step, std::memory_order_release);
  wake(&freeze.request);
  ring(process);
}

void finish(const PagedProcess& process) {
  process.freeze().answer.store(Freeze::kNone, std::memory_order_relaxed);
  process.freeze().request.store(Freeze::kNone, std::memory_order_release);
}

Answer await(const PagedProcess& process, Freeze step, const std::function<void()>& look) {
  JobFreeze& freeze = process.freeze();
  for (;;) {
    const Freeze answer = freeze.answer.load(std::memory_order_acquire);
    if (answer == step) break;
    if (sleep_on(&freeze.answer, answer)) continue;
    if (is_gone(process)) return Answer::kGone;
    const pid_t pager = pager_thread(process);
    if (pager > 0 && process_state(pager) == 'T')
      throw Failure(fmt::format("{} is stopped and cannot {}: continue it first: kill -CONT {}", told(process),
                                word(step), process.pid));
    if (look) look();
  }
  const int error = freeze.error.load(std::memory_order_relaxed);
  if (error != 0 && is_gone(process)) return Answer::kGone;  // it was the next owner of its slot who could not
  if (error == ENOSPC || error == EDQUOT)
    throw Failure(
        fmt::format("{} cannot {}: {} ({})", told(process), word(step), error_text(error), full_where(process)));
  if (error != 0) throw Failure(fmt::format("{} cannot {}: {}", told(process), word(step), error_text(error)));
  return Answer::kDone;
}

Fd descriptor_of(pid_t pid, int number) {
  const Fd handle(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return handle.valid() ? Fd(static_cast<int>(syscall(SYS_pidfd_getfd, handle.get(), number, 0))) : Fd();
}

pid_t pager_thread(const PagedProcess& process) {
  const pid_t wanted = process.freeze().pager.load(std::memory_order_acquire);
  const std::string folder = fmt::format("/proc/{}/task", process.pid);
  for (const auto& name : SystemFiles().names(folder)) {
    const auto thread = static_cast<pid_t>(tools::parse_number(name).value_or(0));
    const auto numbers = namespace_pids(thread);
    if (wanted > 0 && !numbers.empty() && numbers.back() == wanted) return thread;
  }
  return 0;
}

}  // namespace ebb::snapshot
