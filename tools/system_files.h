// The small text files of /proc and /sys, read below a root folder so that tests can bring their own machine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ebb::tools {

struct Mount {
  std::string root;     // which folder of the file system is mounted
  std::string point;    // where
  std::string type;     // "ext4", "cgroup2", ...
  std::string options;  // of the mount and of the file system, joined by a comma
  bool has_option(std::string_view option) const;
};

class SystemFiles {
 public:
  explicit SystemFiles(std::string root = "") : root_(std::move(root)) {}

  // The whole file; nothing when it is not there or not readable.
  std::optional<std::string> read(const std::string& path) const;
  // Its first line without the line end.
  std::optional<std::string> line(const std::string& path) const;
  // The number that the file starts with.
  std::optional<int64_t> number(const std::string& path) const;
  // "Name:   value" files such as meminfo and status: the value, trimmed.
  std::optional<std::string> field(const std::string& path, std::string_view name) const;
  // A number of KiB of such a file, in bytes.
  std::optional<uint64_t> kib_field(const std::string& path, std::string_view name) const;
  // The names in a folder, sorted.
  std::vector<std::string> names(const std::string& path) const;
  // /proc/self/mountinfo.
  std::vector<Mount> mounts() const;

 private:
  std::string root_;
};

// Splits at every `separator`, dropping empty pieces.
std::vector<std::string> split(std::string_view text, char separator);
// A whole decimal number, or nothing.
std::optional<int64_t> parse_number(std::string_view text);
std::string trimmed(std::string_view text);

}  // namespace ebb::tools
