// A thread of the runtime's own, made by clone(2): libc does not know it, so that it is not counted, signalled, joined
// or waited for by the program, and needs nothing of libc's.
//
// It shares everything with the process but its stack and its thread pointer: a zeroed block of its own, so that
// initial-exec TLS of any library (errno) is its own, too. All signals are blocked in it.
#pragma once

#include "base/result.h"

namespace ebb {

// Runs fn(argument) in such a thread; fn never returns. `name` is shown by top(1) and the like. Errors: EAGAIN, ENOMEM,
// EPERM (limits, seccomp).
Result<void> start_thread(const char* name, void (*fn)(void*), void* argument);

}  // namespace ebb
