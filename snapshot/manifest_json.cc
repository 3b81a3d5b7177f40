// A manifest as JSON and back: see manifest.h.
#include <fmt/format.h>
#include <algorithm>

#include "snapshot/checksum.h"
#include "snapshot/error.h"
#include "snapshot/files.h"
#include "snapshot/format.h"
#include "snapshot/manifest.h"

namespace ebb::snapshot {
namespace {

using nlohmann::json;

constexpr char kSchema[] = "ebbtide.snapshot/1";
constexpr char kSchemaFamily[] = "ebbtide.snapshot/";
constexpr int kDeepest = 32;

bool is_utf8(const std::string& text) {
  try {
    (void)json(text).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

// Paths and arguments are bytes, JSON is UTF-8.
json bytes_json(const std::string& text) {
  if (is_utf8(text)) return text;
  std::string hex;
  for (const unsigned char c : text) hex += fmt::format("{:02x}", c);
  return {{"hex", hex}};
}

std::string bytes_from(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  const std::string hex = value.at("hex").get<std::string>();
  if (hex.size() % 2 != 0 || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw SnapshotError("a text in hexadecimal digits is none");
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

// Exact: nlohmann's get() would turn -1 and 1e99 into some number.
template <class Integer>
Integer integer_from(const json& value) {
  const bool fits = value.is_number_unsigned()
                        ? std::in_range<Integer>(value.get<uint64_t>())
                        : value.is_number_integer() && std::in_range<Integer>(value.get<int64_t>());
  if (!fits) throw SnapshotError("a number is out of range");
  return value.is_number_unsigned() ? static_cast<Integer>(value.get<uint64_t>())
                                    : static_cast<Integer>(value.get<int64_t>());
}

// A size of a file: one that the kernel could have.
Bytes size_from(const json& value) {
  return {static_cast<uint64_t>(std::max<int64_t>(0, integer_from<int64_t>(value)))};
}

json optional_json(const std::optional<std::string>& text) { return text ? json(*text) : json(nullptr); }

std::optional<std::string> optional_from(const json& value) {
  if (value.is_null()) return std::nullopt;
  return value.get<std::string>();
}

json files_json(const Manifest& m) {
  json out = json::array();
  for (const auto& file : m.files)
    out.push_back({{"path", bytes_json(file.path)},
                   {"bytes", file.size.count},
                   {"allocated_bytes", file.allocated.count},
                   {"checksum", optional_json(file.checksum)}});
  return out;
}

json open_files_json(const Manifest& m) {
  json out = json::array();
  for (const auto& file : m.open_files)
    out.push_back({{"path", bytes_json(file.path)},
                   {"bytes", file.size.count},
                   {"mtime_ns", file.mtime_ns},
                   {"inode", file.inode},
                   {"hash", optional_json(file.hash)}});
  return out;
}

void read_files(const json& list, Manifest* m) {
  for (const auto& entry : list) {
    FileRecord file{bytes_from(entry.at("path")), size_from(entry.at("bytes")), size_from(entry.at("allocated_bytes")),
                    optional_from(entry.at("checksum"))};
    if (!is_safe_path(file.path)) throw SnapshotError(fmt::format("a file's path leaves the folder: {}", file.path));
    m->files.push_back(std::move(file));
  }
  if (std::adjacent_find(m->files.begin(), m->files.end(),
                         [](const FileRecord& a, const FileRecord& b) { return a.path >= b.path; }) != m->files.end())
    throw SnapshotError("its files are not in order");
}

void read_open_files(const json& list, Manifest* m) {
  for (const auto& entry : list)
    m->open_files.push_back({bytes_from(entry.at("path")), size_from(entry.at("bytes")),
                             integer_from<int64_t>(entry.at("mtime_ns")), integer_from<uint64_t>(entry.at("inode")),
                             optional_from(entry.at("hash"))});
}

Manifest manifest_from(const json& document) {
  Manifest m;
  m.tag = document.at("tag").get<std::string>();
  m.id = document.at("id").get<std::string>();
  const auto created = parse_rfc3339(document.at("created_at").get<std::string>());
  if (!created) throw SnapshotError("created_at is not a time");
  m.created_unix_ns = *created;
  m.owner_uid = integer_from<uint32_t>(document.at("owner_uid"));
  m.boot_id = document.at("boot_id").get<std::string>();
  m.kernel_release = document.at("kernel_release").get<std::string>();
  m.cpu_model = document.at("cpu_model").get<std::string>();
  m.cpu_flags_digest = document.at("cpu_flags_digest").get<std::string>();
  m.criu_version = document.at("criu_version").get<std::string>();
  for (const auto& word : document.at("command")) m.command.push_back(bytes_from(word));
  m.root_pid = integer_from<int32_t>(document.at("root_pid"));
  for (const auto& pid : document.at("pids")) m.pids.push_back(integer_from<int32_t>(pid));
  m.terminal = document.at("terminal").get<bool>();
  m.job_name = bytes_from(document.at("job_name"));
  m.parent_id = optional_from(document.at("parent_id"));
  m.parent_tag = document.at("parent_tag").get<std::string>();
  m.generation = integer_from<uint64_t>(document.at("generation"));
  read_open_files(document.at("open_files"), &m);
  m.clone_arguments = document.at("clone_arguments").get<std::vector<std::string>>();
  if (!document.at("dram_budget_bytes").is_null()) m.dram_budget = size_from(document.at("dram_budget_bytes"));
  m.slow_spec = bytes_from(document.at("slow_spec"));
  m.engine = document.at("engine");
  read_files(document.at("files"), &m);
  m.persisted = document.at("persisted").get<bool>();
  const auto sum_known = [](const FileRecord& file) { return file.checksum.has_value(); };
  if (m.persisted && !std::all_of(m.files.begin(), m.files.end(), sum_known))
    throw SnapshotError("a file of a persisted snapshot has no checksum");
  return m;
}

// Nesting is limited: writing a document calls itself for each level.
json parse_document(const std::string& text) {
  return json::parse(text, [](int depth, json::parse_event_t, json&) {
    if (depth > kDeepest) throw SnapshotError("too deeply nested");
    return true;
  });
}

std::string canonical(const json& document) { return document.dump(2) + "\n"; }

}  // namespace

json manifest_json(const Manifest& m) {
  return {{"schema", kSchema},
          {"tag", m.tag},
          {"id", m.id},
          {"created_at", rfc3339(m.created_unix_ns)},
          {"owner_uid", m.owner_uid},
          {"boot_id", m.boot_id},
          {"kernel_release", m.kernel_release},
          {"cpu_model", m.cpu_model},
          {"cpu_flags_digest", m.cpu_flags_digest},
          {"criu_version", m.criu_version},
          {"command",
           [&] {
             json out = json::array();
             for (const auto& word : m.command) out.push_back(bytes_json(word));
             return out;
           }()},
          {"root_pid", m.root_pid},
          {"pids", m.pids},
          {"terminal", m.terminal},
          {"job_name", bytes_json(m.job_name)},
          {"parent_id", optional_json(m.parent_id)},
          {"parent_tag", m.parent_tag},
          {"generation", m.generation},
          {"open_files", open_files_json(m)},
          {"clone_arguments", m.clone_arguments},
          {"dram_budget_bytes", m.dram_budget ? json(m.dram_budget->count) : json(nullptr)},
          {"slow_spec", bytes_json(m.slow_spec)},
          {"engine", m.engine},
          {"persisted", m.persisted},
          {"files", files_json(m)}};
}

std::string manifest_text(const Manifest& manifest) {
  json document = manifest_json(manifest);
  document["checksum"] = checksum_of_text(canonical(document));
  return canonical(document);
}

Manifest parse_manifest(const std::string& text) {
  try {
    json document = parse_document(text);
    const std::string schema = document.at("schema").get<std::string>();
    if (schema != kSchema)
      throw SnapshotError(schema.rfind(kSchemaFamily, 0) == 0
                              ? fmt::format("the manifest is of a newer version ({}): use a newer ebb", schema)
                              : "the manifest is none of ours");
    if (canonical(document) != text) throw SnapshotError("the manifest is damaged: not as it was written");
    const std::string checksum = document.at("checksum").get<std::string>();
    document.erase("checksum");
    if (checksum_of_text(canonical(document)) != checksum)
      throw SnapshotError("the manifest is damaged: its checksum differs");
    return manifest_from(document);
  } catch (const json::parse_error& e) {  // its text quotes what was read, which may be anything
    throw SnapshotError(fmt::format("the manifest is damaged: no JSON at byte {}", e.byte));
  } catch (const json::exception& e) {
    throw SnapshotError(fmt::format("the manifest is damaged: {}", e.what()));
  }
}

}  // namespace ebb::snapshot
