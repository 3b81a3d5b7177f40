// CRIU's folder for its logs and statistics, in the temporary directory. Whoever dies with one leaves it behind: the
// next that makes one removes it.
#pragma once

#include <string>

#include "snapshot/fd.h"

namespace ebb::snapshot {

// Private; removed with the object unless it is kept. Locked (flock) as long as this process, or whoever inherits the
// descriptor, has it.
class WorkFolder {
 public:
  WorkFolder();  // removes those of this user that nobody has any more. Failure when none can be made
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::string& path() const { return path_; }
  const Fd& folder() const { return folder_; }
  // For people to read: it stays, under another name, which is the path from now on.
  void keep();

 private:
  std::string path_;
  Fd folder_;
  bool kept_ = false;
};

}  // namespace ebb::snapshot
