// Freeze: what a snapshot asks of this process, answered by the pager's thread (see control.h for the steps).
//
// The thread itself goes through the snapshot: it is among the threads that CRIU stores, waits for `resume` in the
// process that goes on and in every one that is restored, and takes the memory back there. Rules: raw system calls
// only; it holds fork_lock and the state lock from `hold` until `resume`, so that no fork and no mapping call comes
// between.
#pragma once

#include "job/state.h"

namespace ebb {

class FreezeAgent {
 public:
  explicit FreezeAgent(State& s) : s_(s) {}

  // Tells the tool which thread and which descriptor to use.
  void announce();
  // Does what is asked, if anything is: a part of it while the program runs, or all from `hold` to `resume`. Else, and
  // if the job wants it, cleans ahead. How long the pager may sleep then, at most `idle_ns`.
  uint64_t step(uint64_t idle_ns);

 private:
  void forget_request();
  void drop_buffer();
  void drop_contents();
  void drain_wake();
  bool take_buffer();
  uint64_t work_between(uint64_t idle_ns);
  void merge();
  uint64_t clean_between(uint64_t idle_ns);
  template <class Step>
  bool for_a_turn(Step step);
  bool clean();
  bool gather();
  bool trim_free_areas();
  void show();
  void hold();
  bool seal();
  void drain();
  Errno write_all();
  Errno map_files();
  void close_all();
  void wait_sealed();
  void resume();
  void open_again();
  void answer(Freeze request, Errno error);
  JobFreeze& page() { return s_.job.freeze(); }

  State& s_;
  Pager::CleanWalk walk_{};
  unsigned walks_ = 0;
  bool asked_ = false;
  bool asked_to_clean_ = false;  // `walk_` is what is asked for, not one of ours
  bool cleaned_ = false;         // and has ended
  char* buffer_ = nullptr;       // of one extent, while a snapshot is made or something is cleaned ahead
  Pager::MergeWalk merge_walk_{};
  uint64_t merge_at_ns_ = 0;
  Address gather_next_{};
  unsigned most_pieces_ = 0;
  uint64_t next_ns_ = 0;   // when to clean ahead again
  uint64_t pause_ns_ = 0;  // after a walk that found nothing
};

}  // namespace ebb
