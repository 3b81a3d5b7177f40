// The part of include/ebb/ebb.h that the rest of the library has to know.
#pragma once

namespace ebb::interpose {

// In a child of fork, by its only thread: threads that are not there hold no lock.
void release_in_child();
void release_arguments_in_child();

}  // namespace ebb::interpose
