// `ebb restore`: brings a job back from its snapshot, with the PIDs that it had.
#pragma once

#include <string>
#include <vector>

#include "tools/child.h"

namespace ebb::tools {

struct RestoreOptions {
  std::string tag;
  bool detach = false, force = false;
};

// The job's exit code, as `ebb run` gives it; 0 with `detach`. Failure with the reason when it does not come back.
int restore_job(const RestoreOptions& options, const SignalFilter& filter = {});

// `arguments` come after the word `restore`.
int restore_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
