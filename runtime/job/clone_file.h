// The file in which a clone is told its arguments: a contract between the command and the library. Includes nothing of
// ours.
#pragma once

namespace ebb {

// In the clone's temporary directory: "NAME=VALUE" with a NUL behind each, as /proc/PID/environ.
inline constexpr char kCloneArguments[] = ".ebb-clone.arguments";

}  // namespace ebb
