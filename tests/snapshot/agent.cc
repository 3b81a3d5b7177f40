// A program that plays a paged one for the snapshot tool: a control page, a thread that answers as a pager does, a heap
// that is sealed into a file, a userfaultfd that no CRIU can store, and busy threads: agent [PROCESSES].
//
// Each line of input is answered by one line for each process: the heap's sum, what was asked how often, and whether
// threads moved or signals came that should not have. "fail seal ERRNO" makes the last process refuse to seal;
// "hang seal" makes it wait until the command is dead.
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "job/control.h"

namespace {

using ebb::Freeze;

constexpr size_t kHeapSize = 8 << 20, kWords = kHeapSize / sizeof(uint64_t);
constexpr unsigned kBusy = 4;

ebb::JobControl* control;
int page_file = -1;
unsigned own_slot;
uint64_t* heap;
std::atomic<uint64_t> ticks[kBusy];
std::atomic<int> resumes, aborts, seals, moved, conts;
std::atomic<int> seal_error;
std::atomic<bool> hangs;
int uffd = -1, bell = -1;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(9);
}

ebb::JobFreeze& freeze() { return control->freeze[own_slot]; }

void open_what_criu_refuses() {
  bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  uffd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (bell < 0 || uffd < 0) die("eventfd, userfaultfd");
  freeze().wake = bell;
}

// The others are to stand still while we work.
void look_at_the_others() {
  uint64_t before[kBusy];
  for (unsigned i = 0; i < kBusy; ++i) before[i] = ticks[i];
  for (int i = 0; i < 200; ++i) sched_yield();
  for (unsigned i = 0; i < kBusy; ++i) moved += ticks[i] != before[i];
}

// For CRIU an open file has the name that it was opened by.
std::string file_name() { return std::string(control->freeze_folder) + "/" + std::to_string(1000 + own_slot); }

bool tool_lives() {
  auto lock = ebb::byte_lock(ebb::kFreezerByte, F_WRLCK);
  return fcntl(page_file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int seal() {
  look_at_the_others();
  if (seal_error != 0) return seal_error.exchange(0);
  const int file = open(file_name().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 || write(file, heap, kHeapSize) != static_cast<ssize_t>(kHeapSize)) die("the heap's file");
  if (mmap(heap, kHeapSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) != heap) die("mmap");
  close(file);
  freeze().wake = -1;
  close(uffd);
  close(bell);
  ++seals;
  return 0;
}

int resume() {
  look_at_the_others();
  if (access(file_name().c_str(), R_OK) != 0) return errno;
  std::vector<uint64_t> content(heap, heap + kWords);
  if (mmap(heap, kHeapSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) != heap)
    die("mmap");
  std::memcpy(heap, content.data(), kHeapSize);
  open_what_criu_refuses();
  ++resumes;
  return 0;
}

int act(Freeze step) {
  if (step == Freeze::kSeal) return seal();
  if (step == Freeze::kResume) return resume();
  if (step == Freeze::kAbort) ++aborts;
  return 0;
}

void answer_requests() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  freeze().pager = gettid();
  open_what_criu_refuses();
  Freeze answered = Freeze::kNone;
  control->slot[own_slot].paged.store(1, std::memory_order_release);
  for (;;) {
    const Freeze request = freeze().request.load(std::memory_order_acquire);
    if (request == Freeze::kNone) answered = Freeze::kNone;
    const bool hanging = request == Freeze::kSeal && hangs;
    if (request != answered && !hanging) {
      freeze().error = act(request);
      answered = request;
      freeze().answer.store(request, std::memory_order_release);
      syscall(SYS_futex, &freeze().answer, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    } else if (freeze().wake < 0) {
      syscall(SYS_futex, &freeze().request, FUTEX_WAIT, static_cast<uint32_t>(request), nullptr, nullptr, 0);
    } else if (request != Freeze::kNone && !tool_lives()) {
      ++aborts;
      hangs = false;
      freeze().answer = Freeze::kNone;
      freeze().request = Freeze::kNone;
    } else {
      pollfd one = {bell, POLLIN, 0};
      uint64_t rings;
      if (poll(&one, 1, request == Freeze::kNone ? -1 : 10) > 0 && read(bell, &rings, sizeof(rings)) < 0) die("read");
    }
  }
}

void make_page() {
  page_file = memfd_create("ebbtide-job", MFD_CLOEXEC);
  if (page_file < 0 || ftruncate(page_file, sizeof(ebb::JobControl)) != 0) die("memfd_create");
  void* const at = mmap(nullptr, sizeof(ebb::JobControl), PROT_READ | PROT_WRITE, MAP_SHARED, page_file, 0);
  if (at == MAP_FAILED) die("mmap");
  control = new (at) ebb::JobControl;
  control->version = ebb::kControlVersion;
  control->size = sizeof(ebb::JobControl);
  control->magic = ebb::kControlMagic;
}

void take_slot(unsigned slot) {
  own_slot = slot;
  auto lock = ebb::byte_lock(slot, F_WRLCK);
  if (fcntl(page_file, F_SETLK, &lock) != 0) die("the slot's lock");
  control->slot[slot].pid = getpid();
}

uint64_t sum() {
  uint64_t out = 0;
  for (size_t i = 0; i < kWords; ++i) out = out * 31 + heap[i];
  return out;
}

// Answers each line of `input`, and has the next process answer first.
void serve(FILE* input, FILE* output, FILE* next_input, FILE* next_output) {
  char line[256];
  for (uint64_t count = 0; std::fgets(line, sizeof(line), input); ++count) {
    if (next_input) {
      std::fputs(line, next_input);
      std::fflush(next_input);
    } else if (std::strncmp(line, "fail seal ", 10) == 0) {
      seal_error = std::atoi(line + 10);
    } else if (std::strcmp(line, "hang seal\n") == 0) {
      hangs = true;
    }
    const bool paged = freeze().wake >= 0;
    char answer[512];
    std::snprintf(answer, sizeof(answer), "%016llx %s seals=%d resumes=%d aborts=%d moved=%d conts=%d",
                  static_cast<unsigned long long>(sum()), paged ? "paged" : "sealed", seals.load(), resumes.load(),
                  aborts.load(), moved.load(), conts.load());
    heap[count * 512 % kWords] += count + 1;  // the heap goes on changing
    char rest[2048] = "\n";
    if (next_output && !std::fgets(rest, sizeof(rest), next_output)) die("the next process");
    std::fprintf(output, "%s%s%s", answer, next_output ? " | " : "", rest);
    std::fflush(output);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned processes = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 1;
  make_page();
  FILE *input = stdin, *output = stdout, *next_input = nullptr, *next_output = nullptr;
  unsigned slot = 0;
  pid_t child = -1;
  for (; slot + 1 < processes; ++slot) {
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0) die("pipe");
    child = fork();
    if (child != 0) {
      close(down[0]);
      close(up[1]);
      next_input = fdopen(down[1], "w");
      next_output = fdopen(up[0], "r");
      break;
    }
    close(down[1]);
    close(up[0]);
    input = fdopen(down[0], "r");
    output = fdopen(up[1], "w");
    child = -1;
  }
  take_slot(slot);
  heap = static_cast<uint64_t*>(mmap(nullptr, kHeapSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (heap == MAP_FAILED) die("mmap");
  for (size_t i = 0; i < kWords; ++i) heap[i] = i * (slot + 1);
  std::signal(SIGCONT, [](int) { ++conts; });
  std::thread(answer_requests).detach();
  for (auto& one : ticks)
    std::thread([&one] {
      for (;;) {
        ++one;
        sched_yield();
      }
    }).detach();
  while (control->slot[own_slot].paged == 0) sched_yield();
  serve(input, output, next_input, next_output);
  if (next_input) std::fclose(next_input);
  if (child > 0) waitpid(child, nullptr, 0);
  std::_Exit(7);
}
