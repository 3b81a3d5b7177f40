// What takes the place of the world that a restored job was connected with: its standard streams and terminal.
#pragma once

#include <string>
#include <vector>

#include "snapshot/criu.h"
#include "snapshot/job_record.h"
#include "tools/fd.h"

namespace ebb::tools {

// Descriptors for a restored job. Owned here; they close on exec, but for the CRIU that inherits them.
class StandardStreams {
 public:
  // Pipes that the job used as standard input, output and error become `input`, `output` and `error`. Failure when the
  // kernel gives no descriptors.
  StandardStreams(const snapshot::JobRecord& job, int input, int output, int error);
  // Regular files that the job wrote its output to become `output` as well: copies must not write into one file.
  void replace_output_files(const snapshot::JobRecord& job, int output);
  const std::vector<snapshot::Inherited>& inherited() const { return inherited_; }

 private:
  void add(int descriptor, std::string what);
  std::vector<Fd> owned_;
  std::vector<snapshot::Inherited> inherited_;
};

// The terminal of this command: standard input, or the controlling one. Not valid when there is none.
Fd open_terminal();

// Failure that names the files that changed since the snapshot. With `force` they are told as warnings and returned,
// for FileEdits::unchecked; with `streams_replaced` the job's output files do not matter. These may have grown
// in any case: the report of `ebb run` comes after the job's end, and other programs append to the same log.
std::vector<std::string> check_files(const std::string& images, bool force, const snapshot::JobRecord& job,
                                     bool streams_replaced);

}  // namespace ebb::tools
