// What went wrong, from CRIU's own log, in one line for people.
#pragma once

#include <string>

namespace ebb::snapshot {

// The cause that the text of a log tells, as a clause ("process 12 has an established TCP connection; ..."); CRIU's
// first own error line when it is none that we know; "" when the log holds no error.
std::string criu_cause(const std::string& log);
// That cause passes by itself, as a process that is met while it ends.
bool criu_cause_passes(const std::string& log);

}  // namespace ebb::snapshot
