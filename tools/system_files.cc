// The small text files of /proc and /sys: see system_files.h.
#include "tools/system_files.h"

#include <dirent.h>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace ebb::tools {
namespace {

// mountinfo writes blanks in paths as octal escapes.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

bool Mount::has_option(std::string_view option) const {
  const auto all = split(options, ',');
  return std::find(all.begin(), all.end(), option) != all.end();
}

std::optional<std::string> SystemFiles::read(const std::string& path) const {
  std::ifstream in(root_ + path);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return std::nullopt;
  return text.str();
}

std::optional<std::string> SystemFiles::line(const std::string& path) const {
  auto text = read(path);
  if (!text) return std::nullopt;
  return text->substr(0, text->find('\n'));
}

std::optional<int64_t> SystemFiles::number(const std::string& path) const {
  const auto text = line(path);
  return text ? parse_number(trimmed(*text)) : std::nullopt;
}

std::optional<std::string> SystemFiles::field(const std::string& path, std::string_view name) const {
  const auto text = read(path);
  if (!text) return std::nullopt;
  for (const auto& entry : split(*text, '\n')) {
    const size_t colon = entry.find(':');
    if (colon != std::string::npos && std::string_view(entry).substr(0, colon) == name)
      return trimmed(std::string_view(entry).substr(colon + 1));
  }
  return std::nullopt;
}

std::optional<uint64_t> SystemFiles::kib_field(const std::string& path, std::string_view name) const {
  const auto text = field(path, name);
  if (!text) return std::nullopt;
  const auto value = parse_number(std::string_view(*text).substr(0, text->find(' ')));
  if (!value || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value) * 1024;
}

std::vector<std::string> SystemFiles::names(const std::string& path) const {
  std::vector<std::string> out;
  DIR* folder = opendir((root_ + path).c_str());
  if (!folder) return out;
  while (const dirent* entry = readdir(folder))
    if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
  closedir(folder);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Mount> SystemFiles::mounts() const {
  std::vector<Mount> out;
  const auto text = read("/proc/self/mountinfo");
  if (!text) return out;
  for (const auto& entry : split(*text, '\n')) {
    // ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS
    const auto words = split(entry, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 3) continue;
    Mount mount{unescaped(words[3]), unescaped(words[4]), dash[1], words[5]};
    if (words.end() - dash > 3) mount.options += "," + dash[3];
    out.push_back(std::move(mount));
  }
  return out;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kBlank) - begin + 1));
}

}  // namespace ebb::tools
