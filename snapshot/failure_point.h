// Steps at which tests end the process, so that a crash between any two of them can be seen to do no harm. Compiled in
// always: what is tested is what runs.
#pragma once

#include <functional>

namespace ebb::snapshot {

// Marks that the next action is `step`. Does nothing unless a test has set a hook, or EBB_TEST_FAILURE_POINT=K (from 1)
// is in the environment: then the K-th call of the process is its end, by SIGKILL; or EBB_TEST_STOP_POINT=STEP: then it
// stops (SIGSTOP) where it comes to that step for the first time. Any thread.
void failure_point(const char* step);

// From now on each failure_point() calls `hook`; an empty one ends that. Before other threads use the library.
void set_failure_hook(std::function<void(const char* step)> hook);

}  // namespace ebb::snapshot
