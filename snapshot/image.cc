// Reading CRIU's image files: see image.h.
#include "snapshot/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "tools/console.h"
#include "tools/fd.h"

namespace ebb::snapshot {
namespace {

using tools::Failure;

constexpr size_t kHeaderSize = 8;  // two magic numbers

// Numbers of fields in CRIU's images/*.proto; they never change their meaning.
namespace field {
constexpr unsigned kTreePid = 1, kTreeParent = 2, kTreeGroup = 3, kTreeSession = 4, kTreeThreads = 5;
constexpr unsigned kCoreTask = 3;     // of core_entry
constexpr unsigned kTaskState = 1;    // of task_core_entry
constexpr unsigned kFileRegular = 3;  // of file_entry
constexpr unsigned kName = 6, kSize = 8, kMode = 10, kBuildId = 11, kChecksum = 12, kChecksumConfig = 13,
                   kChecksumParameter = 14;  // of reg_file_entry
}  // namespace field

constexpr uint64_t kAlive = 1, kStopped = 3;  // of the states that CRIU stores; in the others it had ended

uint64_t take_varint(std::string_view* bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (!(byte & 0x80)) return value;
  }
  throw Failure("a CRIU image is damaged: a number does not end");
}

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

std::string_view take(std::string_view* bytes, uint64_t count) {
  if (count > bytes->size()) throw Failure("a CRIU image is damaged: it is cut short");
  const auto part = bytes->substr(0, count);
  bytes->remove_prefix(count);
  return part;
}

std::string file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw Failure(fmt::format("cannot read {}: {}", path, tools::error_text(errno)));
  return text.str();
}

// The message of one regular file, edited.
std::string edited(std::string_view regular, const FileEdits& edits) {
  const ImageMessage message(regular);
  const std::string name(message.bytes(field::kName).value_or(""));
  const bool unchecked = std::find(edits.unchecked.begin(), edits.unchecked.end(), name) != edits.unchecked.end();
  const bool moved = !edits.moved_from.empty() && name.rfind(edits.moved_from + "/", 0) == 0;
  std::string out;
  for (const auto& part : message.fields()) {
    const bool check =
        part.number == field::kSize || (part.number >= field::kMode && part.number <= field::kChecksumParameter);
    if (moved && part.number == field::kName)
      out += encode_bytes(field::kName, edits.moved_to + name.substr(edits.moved_from.size()));
    else if (!unchecked || !check)
      out += part.encoded;
  }
  return out;
}

std::optional<uint64_t> state_when_stored(const std::string& images, int pid) {
  const auto core = read_image(fmt::format("{}/core-{}.img", images, pid));
  const std::string_view none;
  const ImageMessage entry(core.empty() ? none : core[0]);
  return ImageMessage(entry.bytes(field::kCoreTask).value_or(none)).number(field::kTaskState);
}

}  // namespace

ImageMessage::ImageMessage(std::string_view bytes) {
  enum Wire { kVarint = 0, kEight = 1, kBytes = 2, kFour = 5 };
  while (!bytes.empty()) {
    const std::string_view start = bytes;
    const uint64_t tag = take_varint(&bytes);
    ImageField part;
    part.number = static_cast<unsigned>(tag >> 3);
    switch (tag & 7) {
      case kVarint:
        part.value = take_varint(&bytes);
        break;
      case kEight:
        std::memcpy(&part.value, take(&bytes, 8).data(), 8);
        break;
      case kFour:
        std::memcpy(&part.value, take(&bytes, 4).data(), 4);
        break;
      case kBytes:
        part.bytes = take(&bytes, take_varint(&bytes));
        break;
      default:
        throw Failure("a CRIU image is damaged: a field of an unknown kind");
    }
    part.encoded = start.substr(0, start.size() - bytes.size());
    fields_.push_back(part);
  }
}

std::optional<uint64_t> ImageMessage::number(unsigned field) const {
  for (const auto& part : fields_)
    if (part.number == field) return part.value;
  return std::nullopt;
}

std::vector<uint64_t> ImageMessage::numbers(unsigned field) const {
  std::vector<uint64_t> out;
  for (const auto& part : fields_) {
    if (part.number != field) continue;
    std::string_view packed = part.bytes;
    if (packed.empty()) out.push_back(part.value);
    while (!packed.empty()) out.push_back(take_varint(&packed));
  }
  return out;
}

std::optional<std::string_view> ImageMessage::bytes(unsigned field) const {
  for (const auto& part : fields_)
    if (part.number == field) return part.bytes;
  return std::nullopt;
}

std::vector<std::string> read_image(const std::string& path) {
  const std::string content = file_content(path);
  std::string_view rest = content;
  try {
    take(&rest, kHeaderSize);
    std::vector<std::string> messages;
    while (!rest.empty()) {
      uint32_t size = 0;
      std::memcpy(&size, take(&rest, sizeof(size)).data(), sizeof(size));
      messages.emplace_back(take(&rest, size));
    }
    return messages;
  } catch (const Failure& failure) {
    throw Failure(fmt::format("{}: {}", path, failure.what()));
  }
}

std::string encode_bytes(unsigned field, std::string_view bytes) {
  return varint(uint64_t{field} << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

std::vector<StoredProcess> stored_processes(const std::string& images) {
  std::vector<StoredProcess> out;
  for (const auto& text : read_image(images + "/pstree.img")) {
    const ImageMessage message(text);
    const auto number = [&](unsigned field) { return static_cast<int>(message.number(field).value_or(0)); };
    StoredProcess process{number(field::kTreePid),
                          number(field::kTreeParent),
                          number(field::kTreeGroup),
                          number(field::kTreeSession),
                          {}};
    for (const uint64_t thread : message.numbers(field::kTreeThreads))
      process.threads.push_back(static_cast<int>(thread));
    out.push_back(std::move(process));
  }
  if (out.empty()) throw Failure(fmt::format("{}/pstree.img holds no process", images));
  return out;
}

bool ran_when_stored(const std::string& images, int pid) { return state_when_stored(images, pid) == kAlive; }

bool lived_when_stored(const std::string& images, int pid) {
  const auto state = state_when_stored(images, pid);
  return state == kAlive || state == kStopped;
}

void write_edited_files(const std::string& images, const FileEdits& edits, const std::string& target) {
  const std::string source = images + "/files.img";
  std::string out = file_content(source).substr(0, kHeaderSize);
  for (const auto& text : read_image(source)) {
    std::string entry;
    const ImageMessage message(text);
    for (const auto& part : message.fields())
      entry += part.number == field::kFileRegular ? encode_bytes(field::kFileRegular, edited(part.bytes, edits))
                                                  : std::string(part.encoded);
    const auto size = static_cast<uint32_t>(entry.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof(size));
    out += entry;
  }
  const tools::Fd file(open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid() || !tools::write_all(file.get(), out))
    throw Failure(fmt::format("cannot write {}: {}", target, tools::error_text(errno)));
}

}  // namespace ebb::snapshot
