// Checksums: see checksum.h.
#include "snapshot/checksum.h"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

#include "snapshot/error.h"
#include "snapshot/files.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ebb::snapshot {
namespace {

constexpr uint64_t kPiece = uint64_t{1} << 20;

std::string hex(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

bool all_zero(const char* buffer, uint64_t bytes) {
  return buffer[0] == 0 && std::memcmp(buffer, buffer + 1, bytes - 1) == 0;
}

class FileHash {
 public:
  FileHash() : state_(XXH3_createState(), &XXH3_freeState) {
    if (!state_ || XXH3_128bits_reset(state_.get()) != XXH_OK) throw std::bad_alloc();
  }
  void add_piece(uint64_t number, const char* buffer, uint64_t bytes) {
    const XXH128_hash_t piece = XXH3_128bits(buffer, bytes);
    add(number);
    add(piece.high64);
    add(piece.low64);
  }
  std::string finish(uint64_t size) {
    add(size);
    return hex(XXH3_128bits_digest(state_.get()));
  }

 private:
  void add(uint64_t word) { XXH3_128bits_update(state_.get(), &word, sizeof word); }
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

}  // namespace

std::string checksum_of_file(int fd, Bytes size, const std::string& name, Meter* meter) {
  if (size.count > 0) {  // a hole at the end is never read: ask for the last byte
    char last;
    read_at(fd, &last, 1, size.count - 1, name);
  }
  FileHash hash;
  const PageBuffer buffer(kPiece / kPageSize);
  uint64_t next = 0;  // pieces before it are done
  for_each_data(fd, size, name, [&](uint64_t begin, uint64_t end) {
    for (uint64_t piece = std::max(next, begin / kPiece); piece * kPiece < end; ++piece) {
      const uint64_t bytes = std::min(kPiece, size.count - piece * kPiece);
      read_at(fd, buffer.data(), bytes, piece * kPiece, name);
      if (!all_zero(buffer.data(), bytes)) hash.add_piece(piece, buffer.data(), bytes);
      meter->add({(piece - next) * kPiece + bytes});
      next = piece + 1;
    }
  });
  if (next * kPiece < size.count) meter->add({size.count - next * kPiece});
  return hash.finish(size.count);
}

std::string checksum_of_text(const std::string& text) { return hex(XXH3_128bits(text.data(), text.size())); }

}  // namespace ebb::snapshot
