// Reading CRIU's image files: a header, then protobuf messages, each after its length. Only the few fields that we need
// are known here, by number; all else is passed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ebb::snapshot {

// One field of a protobuf message as it stands in the bytes.
struct ImageField {
  unsigned number = 0;
  uint64_t value = 0;        // of numbers
  std::string_view bytes;    // of strings, messages and packed numbers
  std::string_view encoded;  // tag and all, for a copy
};

// A view of one message; the bytes belong to the caller. Thread-safe, as it changes nothing.
class ImageMessage {
 public:
  // Failure when the bytes are no protobuf message.
  explicit ImageMessage(std::string_view bytes);
  const std::vector<ImageField>& fields() const& { return fields_; }
  std::optional<uint64_t> number(unsigned field) const;
  std::vector<uint64_t> numbers(unsigned field) const;  // repeated, packed or not
  std::optional<std::string_view> bytes(unsigned field) const;

 private:
  std::vector<ImageField> fields_;
};

// The messages of an image file. Failure when it cannot be read or is cut short.
std::vector<std::string> read_image(const std::string& path);

// Protobuf's encoding of a message field: tag, length, bytes.
std::string encode_bytes(unsigned field, std::string_view bytes);

// What of a process tree CRIU stored.
struct StoredProcess {
  int pid = 0;
  int parent = 0;
  int group = 0;
  int session = 0;
  std::vector<int> threads;  // with the first one
};
// The processes, the root first. Failure as read_image.
std::vector<StoredProcess> stored_processes(const std::string& images);

// Whether the process `pid` ran when it was stored: it had not ended and was not stopped. Failure as read_image.
bool ran_when_stored(const std::string& images, int pid);
// Whether it had not ended. Failure as read_image.
bool lived_when_stored(const std::string& images, int pid);

// What is to be otherwise in a copy of files.img.
struct FileEdits {
  std::vector<std::string> unchecked;  // paths of files that are restored whatever size and mode they have by then
  std::string moved_from, moved_to;    // folders: what lay in the one is in the other; "": none
  bool empty() const { return unchecked.empty() && moved_from == moved_to; }
};
// A copy of `images`/files.img in `target`. Failure as read_image, or when it cannot be written.
void write_edited_files(const std::string& images, const FileEdits& edits, const std::string& target);

}  // namespace ebb::snapshot
