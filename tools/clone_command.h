// `ebb clone`: starts copies of a job from its snapshot, each in a world of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace ebb::tools {

struct CloneRequest {
  std::string tag;
  int count = 1;
  std::map<std::string, std::string> arguments;  // for the clones to read
  std::string logs;  // folder for clone-K.log; "": one clone in the foreground, with our standard streams
  bool force = false;
};

// Starts the clones and waits for all of them. The exit code of the first that did not end with 0, else 0.
int run_clones(const CloneRequest& request);

// `arguments` come after the word `clone`.
int clone_command(const std::vector<std::string>& arguments);

}  // namespace ebb::tools
