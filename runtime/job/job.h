// Job: this process's part in the control page. Rules: raw system calls only; attach() and renew() under the state
// lock.
#pragma once

#include "base/result.h"
#include "base/units.h"
#include "job/control.h"

namespace ebb {

class Job {
 public:
  // Maps the control page named by `path` (null: a page of this process's own, with `budget`) and takes a slot.
  // Errors: as open(2); EINVAL for a file that is no control page of this version; EMFILE when all slots are taken.
  Errno attach(const char* path, Bytes budget);
  // In a fork child: a slot of its own in the inherited page.
  Errno take_slot();
  // Takes the lock of this process's slot again if it is gone: the process was restored from a snapshot.
  void keep_lock();
  // Gives back what processes hold that ended without a word. How much was found.
  Bytes reclaim_dead();

  bool attached() const { return control_ != nullptr; }
  JobControl& control() { return *control_; }
  JobSlot& slot() { return *slot_; }
  JobFreeze& freeze() { return control_->freeze[slot_ - control_->slot]; }
  // Whether a snapshot tool works on this job (kFreezerByte); true when it cannot be asked.
  bool being_frozen() const;

 private:
  bool own_lock(unsigned slot);
  bool take_if_free(unsigned slot);
  void unlock(unsigned slot);
  void clear(JobSlot& slot);

  JobControl* control_ = nullptr;
  JobSlot* slot_ = nullptr;
  int fd_ = -1;
};

}  // namespace ebb
