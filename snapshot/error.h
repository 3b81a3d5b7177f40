// The one exception of the snapshot library.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace ebb::snapshot {

// Its text is one line for the user: what failed, of which file or snapshot, and what to do where that is known.
class SnapshotError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws SnapshotError: "WHAT: the error's text".
[[noreturn]] inline void fail_with_errno(const std::string& what, int error) {
  throw SnapshotError(what + ": " + std::strerror(error));
}

}  // namespace ebb::snapshot
