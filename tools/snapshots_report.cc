// Snapshots as text and as JSON: see snapshots_report.h.
#include "tools/snapshots_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "tools/console.h"

namespace ebb::tools {
namespace {

using nlohmann::json;
using snapshot::Snapshot;

using Row = std::vector<std::string>;

// Columns as wide as they have to be; the last is not padded.
std::string table(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) out += fmt::format("{:<{}}  ", row[i], widths[i]);
    out += row.back() + "\n";
  }
  return out;
}

// "" for nothing.
std::string command_text(const std::vector<std::string>& command) {
  std::string out;
  if (command.size() == 1 && command[0].empty()) return out;
  for (const auto& word : command) out += (out.empty() ? "" : " ") + shell_quoted(word);
  // What would move the cursor has no business in a table.
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  return out;
}

// To the second, in UTC.
std::string created_text(const Snapshot& s) {
  if (!s.manifest) return "-";
  return rfc3339(s.manifest->created_unix_ns).substr(0, 19) + "Z";
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

json entry_json(const Snapshot& s) {
  const auto& m = s.manifest;
  return {{"tag", s.tag},
          {"state", snapshot::word(s.state)},
          {"reason", s.reason.empty() ? json(nullptr) : json(s.reason)},
          {"directory", s.directory.string()},
          {"id", m ? json(m->id) : json(nullptr)},
          {"created_at", m ? json(rfc3339(m->created_unix_ns)) : json(nullptr)},
          {"size_bytes", s.size.count},
          {"allocated_bytes", s.allocated.count},
          {"processes", m ? json(m->pids.size()) : json(nullptr)},
          {"command", m ? snapshot::manifest_json(*m)["command"] : json(nullptr)},
          {"parent_id", m && m->parent_id ? json(*m->parent_id) : json(nullptr)},
          {"parent_tag", m && m->parent_id ? json(m->parent_tag) : json(nullptr)}};
}

std::string line(std::string_view label, std::string_view text) { return fmt::format("{:<12} {}\n", label, text); }

std::string manifest_lines(const snapshot::Manifest& m) {
  std::string out = line("id", m.id);
  out += line("command", or_dash(command_text(m.command)));
  out += line("job", or_dash(command_text({m.job_name})));
  out += line("processes", fmt::format("{} ({}), root {}{}", m.pids.size(), fmt::join(m.pids, " "), m.root_pid,
                                       m.terminal ? ", on a terminal" : ""));
  if (m.parent_id)
    out += line("parent", fmt::format("{} ({}), generation {}", m.parent_tag, *m.parent_id, m.generation));
  out += line("budget", m.dram_budget ? readable(*m.dram_budget) : "-");
  out += line("slow tier", or_dash(command_text({m.slow_spec})));
  out += line("made with",
              fmt::format("kernel {}, CRIU {}, {}", m.kernel_release, or_dash(m.criu_version), or_dash(m.cpu_model)));
  for (const auto& file : m.open_files)
    out += line("open file", fmt::format("{} ({})", command_text({file.path}), readable(file.size)));
  out += line("files", fmt::format("{}{}", m.files.size(), m.persisted ? ", with checksums" : ""));
  return out;
}

}  // namespace

std::string list_text(const std::vector<Snapshot>& all, const std::string& root) {
  if (all.empty()) return "no snapshots in " + root + "\n";
  std::vector<Row> rows = {{"TAG", "STATE", "CREATED", "SIZE", "PROCESSES", "PARENT", "COMMAND"}};
  std::string reasons;
  for (const auto& s : all) {
    const auto& m = s.manifest;
    rows.push_back({s.tag, snapshot::word(s.state), created_text(s), readable(s.allocated),
                    m ? std::to_string(m->pids.size()) : "-", m && m->parent_id ? or_dash(m->parent_tag) : "-",
                    m ? or_dash(command_text(m->command)) : "-"});
    if (!s.reason.empty()) reasons += fmt::format("{}: {}\n", s.tag, s.reason);
  }
  return table(rows) + reasons;
}

json list_json(const std::vector<Snapshot>& all, const std::string& root) {
  json list = json::array();
  for (const auto& s : all) list.push_back(entry_json(s));
  return {{"schema", "ebbtide.snapshots/1"}, {"root", root}, {"snapshots", list}};
}

std::string show_text(const Snapshot& s, const std::vector<std::string>& users) {
  std::string out = line("tag", s.tag);
  out += line("state",
              s.reason.empty() ? snapshot::word(s.state) : fmt::format("{}: {}", snapshot::word(s.state), s.reason));
  out += line("directory", s.directory.string());
  out += line("created", created_text(s));
  out += line("size", fmt::format("{} on disk, {} in all", readable(s.allocated), readable(s.size)));
  if (s.manifest) out += manifest_lines(*s.manifest);
  out += line("needed by", users.empty() ? "-" : fmt::format("{}", fmt::join(users, ", ")));
  return out;
}

json show_json(const Snapshot& s, const std::vector<std::string>& users) {
  json out = entry_json(s);
  out["schema"] = "ebbtide.snapshot-details/1";
  out["needed_by"] = users;
  out["manifest"] = s.manifest ? snapshot::manifest_json(*s.manifest) : json(nullptr);
  return out;
}

std::string verify_text(const std::vector<Verified>& all) {
  std::string out;
  for (const auto& one : all) {
    const bool sums = one.snapshot.manifest && one.snapshot.manifest->persisted;
    if (one.problems.empty())
      out += fmt::format(
          "{}: {}\n", one.snapshot.tag,
          sums ? "every byte as it was written" : "sizes as they were written; no checksums before it is persisted");
    for (const auto& problem : one.problems)
      out += fmt::format("{}: {}: {}\n", one.snapshot.tag, command_text({problem.file}), problem.what);
  }
  return out;
}

json verify_json(const std::vector<Verified>& all) {
  json list = json::array();
  bool good = true;
  for (const auto& one : all) {
    json problems = json::array();
    for (const auto& problem : one.problems) problems.push_back({{"file", problem.file}, {"what", problem.what}});
    good = good && one.problems.empty();
    list.push_back({{"tag", one.snapshot.tag},
                    {"good", one.problems.empty()},
                    {"contents_checked", one.snapshot.manifest && one.snapshot.manifest->persisted},
                    {"problems", problems}});
  }
  return {{"schema", "ebbtide.snapshots-verify/1"}, {"good", good}, {"snapshots", list}};
}

std::string prune_text(const std::vector<snapshot::PruneDecision>& decisions, bool dry_run) {
  std::string out;
  size_t count = 0;
  Bytes freed{};
  for (const auto& d : decisions) {
    out += fmt::format("{} {}: {}\n", !d.remove ? "kept" : dry_run ? "would remove" : "removed", d.tag, d.reason);
    if (!d.remove) continue;
    ++count;
    freed += d.allocated;
  }
  return out + fmt::format("{} {} of {}, {}\n", dry_run ? "would remove" : "removed", count, decisions.size(),
                           readable(freed));
}

}  // namespace ebb::tools
