// Checksums: holes, pieces, and that every byte counts.
#include "snapshot/checksum.h"

#include <fcntl.h>
#include <random>

#include "world.h"

namespace ebb::snapshot {
namespace {

class ChecksumTest : public CatalogueTest {
 protected:
  std::string sum(const fs::path& path, uint64_t size) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const Progress progress = [this](const char*, Bytes done, Bytes) { done_ = done; };
    Meter meter(progress, "check", Bytes{size});
    return checksum_of_file(file.get(), Bytes{size}, "it", &meter);
  }
  Bytes done_{};
};

TEST_F(ChecksumTest, HolesAndStoredZerosAreTheSame) {
  const fs::path stored = folder_ / "stored", sparse = folder_ / "sparse";
  constexpr size_t kSize = (5 << 20) + 17;
  std::string content(kSize, '\0');
  content[(2 << 20) + 5] = 'x';
  write_file(stored, content);
  write_file(sparse, "");
  fs::resize_file(sparse, kSize);
  {
    std::fstream out(sparse, std::ios::in | std::ios::out);
    out.seekp((2 << 20) + 5);
    out << 'x';
  }
  EXPECT_EQ(sum(stored, kSize), sum(sparse, kSize));
  EXPECT_EQ(done_.count, kSize);
}

TEST_F(ChecksumTest, ATerabyteOfHolesTakesNoTime) {
  write_file(folder_ / "huge", "begin");
  fs::resize_file(folder_ / "huge", uint64_t{1} << 40);
  EXPECT_EQ(sum(folder_ / "huge", uint64_t{1} << 40).size(), 32u);
  EXPECT_EQ(done_.count, uint64_t{1} << 40);
}

TEST_F(ChecksumTest, EveryChangeCounts) {
  std::mt19937 random(1);
  std::string content((3 << 20) + 1234, '\0');
  for (size_t i = 0; i < 1000; ++i) content[random() % (1 << 20)] = static_cast<char>(random());  // two pieces of zeros
  const fs::path file = folder_ / "f";
  write_file(file, content);
  const std::string good = sum(file, content.size());
  for (int i = 0; i < 200; ++i) {
    std::string bad = content;
    bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    write_file(file, bad);
    EXPECT_NE(sum(file, bad.size()), good);
  }
  std::string moved = content;  // a piece in another place
  std::swap_ranges(moved.begin(), moved.begin() + (1 << 20), moved.begin() + (1 << 20));
  write_file(file, moved);
  EXPECT_NE(sum(file, moved.size()), good);
  write_file(file, content.substr(0, content.size() - 1));
  EXPECT_NE(sum(file, content.size() - 1), good);
  EXPECT_THAT(error_of([&] { sum(file, content.size()); }), testing::HasSubstr("shorter"));
}

}  // namespace
}  // namespace ebb::snapshot
