// What a snapshot is and what it consists of: manifest.json in its folder, schema "ebbtide.snapshot/1".
//
// The file is the one canonical text of its content and carries a checksum of itself, so that any changed byte of it is
// noticed. New keys may come within /1.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace ebb::snapshot {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr Bytes kLargestManifest{uint64_t{64} << 20};

// A file of the snapshot.
struct FileRecord {
  std::string path;  // relative to the snapshot's folder, never leaving it (is_safe_path)
  Bytes size{};
  Bytes allocated{};                    // on disk when it was recorded; holes take nothing
  std::optional<std::string> checksum;  // checksum_of_file(); none before the snapshot is persisted
  bool operator==(const FileRecord&) const = default;
};

// A regular file that the job had open, to be compared at restore.
struct OpenFile {
  std::string path;  // absolute; any bytes
  Bytes size{};
  int64_t mtime_ns = 0;  // since the epoch
  uint64_t inode = 0;
  std::optional<std::string> hash;  // checksum_of_file(), where it was asked for
  bool operator==(const OpenFile&) const = default;
};

// A plain value; copying one copies everything.
struct Manifest {
  std::string tag;
  std::string id;  // 32 hexadecimal digits, unique
  uint64_t created_unix_ns = 0;
  uint32_t owner_uid = 0;
  std::string boot_id;  // of the kernel that it was made under
  std::string kernel_release;
  std::string cpu_model;
  std::string cpu_flags_digest;
  std::string criu_version;
  std::vector<std::string> command;  // any bytes
  int32_t root_pid = 0;
  std::vector<int32_t> pids;  // of the whole tree
  bool terminal = false;
  std::string job_name;
  std::optional<std::string> parent_id;  // the snapshot whose files this one needs
  std::string parent_tag;                // its name when this one was made, or ""
  uint64_t generation = 0;               // 0 without a parent, else one more than the parent's
  std::vector<OpenFile> open_files;
  std::vector<std::string> clone_arguments;  // what `ebb clone --arg` may set; empty: anything
  std::optional<Bytes> dram_budget;
  std::string slow_spec;                             // of the job's slow tier, or ""
  nlohmann::json engine = nlohmann::json::object();  // what freezing and restoring want to know; kept as it is
  std::vector<FileRecord> files;                     // sorted by path; without manifest.json and the lock

  bool persisted = false;  // every file has its checksum and is durable

  Bytes size() const;       // of all files
  Bytes allocated() const;  // as recorded
};

// Sets id, created_unix_ns, owner_uid, boot_id, kernel_release, cpu_model and cpu_flags_digest from this process and
// machine.
void describe_here(Manifest* manifest);
// /proc/sys/kernel/random/boot_id, or "" where that cannot be read.
std::string boot_id_here();

// The canonical text, with its checksum and a newline at the end.
std::string manifest_text(const Manifest& manifest);
// SnapshotError says what is wrong: damaged, of a newer version, a path that leaves the folder, a value out of range.
Manifest parse_manifest(const std::string& text);
// The document without its checksum, for `ebb snapshots show --json`. Bytes that are not UTF-8 are there as {"hex":
// ...}.
nlohmann::json manifest_json(const Manifest& manifest);

}  // namespace ebb::snapshot
