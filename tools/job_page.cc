// The job's control page as `ebb run` sees it: see job_page.h.
#include "tools/job_page.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <set>

#include "tools/console.h"
#include "tools/system_files.h"

namespace ebb::tools {
namespace {

constexpr char kMemfdName[] = "ebbtide-job";
constexpr char kMemfdLink[] = "/memfd:ebbtide-job";  // how /proc/PID/fd shows it

uint64_t value(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

// Calls fn(JobControl&, inode) with the page behind `path`, if it is one of this version.
template <class Fn>
void with_page(const std::string& path, bool writable, Fn fn) {
  const Fd file(open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  struct stat info = {};
  if (!file.valid() || fstat(file.get(), &info) != 0 || info.st_size != sizeof(JobControl)) return;
  void* const at =
      mmap(nullptr, sizeof(JobControl), writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return;
  auto* const page = static_cast<JobControl*>(at);
  if (page->magic == kControlMagic && page->version == kControlVersion) fn(*page, info.st_ino);
  munmap(at, sizeof(JobControl));
}

// The promise of the job whose page is behind `path`, counted once per page.
void add_promise(const std::string& path, std::set<ino_t>* seen, Promises* sum) {
  with_page(path, false, [&](const JobControl& page, ino_t inode) {
    if (!seen->insert(inode).second) return;
    const uint64_t budget = value(page.budget), charged = value(page.charged);
    sum->bytes += Bytes{budget > charged ? budget - charged : 0};
    ++sum->jobs;
  });
}

}  // namespace

JobPage::JobPage(Bytes budget) : file_(memfd_create(kMemfdName, MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  // Sealed at its size: no process of the job can cut it short under the others.
  if (!file_.valid() || ftruncate(file_.get(), sizeof(JobControl)) != 0 ||
      fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw Failure(fmt::format("cannot create the job's control page: {}; does the container allow memfd_create?",
                              error_text(errno)));
  void* const at = mmap(nullptr, sizeof(JobControl), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (at == MAP_FAILED) throw Failure(fmt::format("cannot map the job's control page: {}", error_text(errno)));
  control_ = new (at) JobControl;
  control_->version = kControlVersion;
  control_->size = sizeof(JobControl);
  control_->budget = budget.count;
  // Last: who sees the magic number sees the rest.
  std::atomic_thread_fence(std::memory_order_release);
  control_->magic = kControlMagic;
}

JobPage::~JobPage() { munmap(control_, sizeof(JobControl)); }

std::string JobPage::path() const { return fmt::format("/proc/{}/fd/{}", getpid(), file_.get()); }

JobCounts JobPage::read() const {
  const JobControl& page = *control_;
  const JobCounters& c = page.counters;
  JobCounts out;
  out.budget = value(page.budget);
  out.peak_charged = value(page.peak_charged);
  out.peak_managed = value(page.peak_managed);
  out.peak_need = value(page.peak_need);
  out.peak_own = value(page.peak_own_bytes);
  out.peak_store = value(page.peak_store_bytes);
  out.evicted = value(c.evicted_bytes);
  out.written = value(c.written_bytes);
  out.cleaned = value(c.cleaned_bytes);
  out.loaded = value(c.loaded_bytes);
  out.returned = value(c.returned_bytes);
  out.zeroed = value(c.zero_bytes);
  out.faults = value(c.faults);
  out.stall_ns = value(c.stall_ns);
  out.pager_cpu_ns = value(c.pager_cpu_ns);
  out.read_errors = value(c.read_errors);
  out.write_errors = value(c.write_errors);
  out.bad_pages = value(c.bad_pages);
  out.over_budget = value(c.over_budget_bytes);
  out.processes = value(c.processes);
  out.paged_processes = value(c.paged_processes);
  out.messages_posted = page.messages.load(std::memory_order_relaxed);
  for (const JobMessage& m : page.message)
    if (m.ready.load(std::memory_order_acquire)) out.messages.emplace_back(m.text, strnlen(m.text, sizeof(m.text)));
  return out;
}

std::vector<pid_t> JobPage::members() const {
  std::vector<pid_t> out;
  for (unsigned i = 0; i < kJobSlots; ++i) {
    // The owner's lock on the slot's byte is the proof of life; the number alone may be of a process long gone.
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = i;
    lock.l_len = 1;
    const pid_t pid = control_->slot[i].pid.load(std::memory_order_relaxed);
    if (pid != 0 && fcntl(file_.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) out.push_back(pid);
  }
  return out;
}

void tell_job(const std::string& path, std::string_view text) {
  with_page(path, true, [&](JobControl& page, ino_t) { page.post(text); });
}

Promises other_promises() {
  Promises sum;
  std::set<ino_t> seen;
  const SystemFiles files;
  for (const auto& name : files.names("/proc")) {
    if (!parse_number(name) || name == std::to_string(getpid())) continue;
    const std::string folder = "/proc/" + name;
    // Only the holders of pages, `ebb run` processes: looking into every process of a node would take long.
    if (files.line(folder + "/comm") != "ebb") continue;
    for (const auto& fd : files.names(folder + "/fd")) {
      char target[64] = {};
      const std::string path = folder + "/fd/" + fd;
      const ssize_t n = readlink(path.c_str(), target, sizeof(target) - 1);
      if (n > 0 && std::string_view(target).substr(0, sizeof(kMemfdLink) - 1) == kMemfdLink)
        add_promise(path, &seen, &sum);
    }
  }
  return sum;
}

}  // namespace ebb::tools
