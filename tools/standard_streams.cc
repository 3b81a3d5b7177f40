// What takes the place of the world that a restored job was connected with: see standard_streams.h.
#include "tools/standard_streams.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

#include "tools/console.h"

namespace ebb::tools {
namespace {

constexpr int kAboveStandard = 10;
constexpr size_t kNamed = 5;  // files in one message

}  // namespace

StandardStreams::StandardStreams(const snapshot::JobRecord& job, int input, int output, int error) {
  const int streams[] = {input, output, error};
  for (const auto& pipe : job.pipes) add(streams[pipe.descriptor], fmt::format("pipe:[{}]", pipe.inode));
}

void StandardStreams::replace_output_files(const snapshot::JobRecord& job, int output) {
  for (const auto& path : job.output_files) add(output, path.substr(1));
}

void StandardStreams::add(int descriptor, std::string what) {
  owned_.emplace_back(fcntl(descriptor, F_DUPFD_CLOEXEC, kAboveStandard));
  if (!owned_.back().valid())
    throw Failure(fmt::format("cannot copy descriptor {}: {}", descriptor, error_text(errno)));
  inherited_.push_back({owned_.back().get(), std::move(what)});
}

Fd open_terminal() {
  if (isatty(STDIN_FILENO)) return Fd(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, kAboveStandard));
  return Fd(open("/dev/tty", O_RDWR | O_CLOEXEC));
}

std::vector<std::string> check_files(const std::string& images, bool force, const snapshot::JobRecord& job,
                                     bool streams_replaced) {
  const Console console(Verbosity::kNormal);
  std::vector<std::string> changed;
  std::string text;
  size_t count = 0;
  for (const auto& file : snapshot::changed_files(snapshot::read_files(images))) {
    const auto& outputs = job.output_files;
    const bool output = std::find(outputs.begin(), outputs.end(), file.path) != outputs.end();
    if (output && streams_replaced) continue;
    if (!file.missing) changed.push_back(file.path);
    if (output && file.grown) continue;
    if (force) console.warn(file.text);
    if (++count <= kNamed) text += (text.empty() ? "" : "; ") + file.text;
  }
  // Whatever is said from here on, by us or by who shares the log, makes it grow before CRIU looks.
  for (const auto& output : job.output_files)
    if (!streams_replaced && access(output.c_str(), F_OK) == 0 &&
        std::find(changed.begin(), changed.end(), output) == changed.end())
      changed.push_back(output);
  if (count == 0 || force) return changed;
  if (count > kNamed) text += fmt::format("; and {} more", count - kNamed);
  throw Failure(fmt::format("files of the job changed since the snapshot: {}. --force restores it all the same", text));
}

}  // namespace ebb::tools
