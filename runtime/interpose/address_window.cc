// The two windows and how they are filled. See address_window.h.
#include "interpose/address_window.h"

#include <cerrno>

#include "job/engine.h"

namespace ebb::heap {

constinit AddressWindow g_large_window{kLargeBegin, kExtentsBegin};
constinit AddressWindow g_extent_window{kExtentsBegin, kOursEnd};

long map_in_window(AddressWindow& window, size_t bytes, size_t alignment, bool huge) {
  // Each try passes over what is in the way, so this many strangers in a row mean that something else is wrong.
  constexpr int kTries = 4096;
  for (int i = 0; i < kTries; ++i) {
    const uintptr_t at = window.take(bytes, alignment);
    const long result = engine::map_heap(reinterpret_cast<void*>(at), bytes, true, huge);
    if (result != -EEXIST) return result;
  }
  return -ENOMEM;
}

}  // namespace ebb::heap
