// How many pages the runtime has moved so far in this job, read from the job's control page as an outsider would.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "job/control.h"

namespace fuzz {

class JobCounters {
 public:
  JobCounters() {
    const char* path = std::getenv(ebb::kJobVariable);
    if (!path) return;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void* p = mmap(nullptr, sizeof(ebb::JobControl), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED && static_cast<ebb::JobControl*>(p)->magic == ebb::kControlMagic)
      job_ = static_cast<const ebb::JobControl*>(p);
  }
  bool known() const { return job_ != nullptr; }
  uint64_t migrations() const {
    if (!job_) return 0;
    const auto& c = job_->counters;
    return (c.evicted_bytes.load() + c.loaded_bytes.load() + c.returned_bytes.load()) >> 12;
  }

 private:
  const ebb::JobControl* job_ = nullptr;
};

}  // namespace fuzz
