// userfaultfd, pagemap and madvise definitions newer than the headers we build with (Debian 12 ships those of
// Linux 6.1). Values and layouts: Documentation/admin-guide/mm/userfaultfd.rst and pagemap.rst, Linux 6.8.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

namespace ebb::abi {

struct UffdMove {
  __u64 dst, src, len, mode;
  __s64 move;  // out: bytes moved, or -errno
};
inline constexpr unsigned long kUffdioMove = _IOWR(UFFDIO, 0x05, UffdMove);
inline constexpr __u64 kMoveAllowSrcHoles = 1ull << 1;
inline constexpr __u64 kFeatureMove = 1ull << 16;

struct UffdPoison {
  uffdio_range range;
  __u64 mode;
  __s64 updated;
};
inline constexpr unsigned long kUffdioPoison = _IOWR(UFFDIO, 0x08, UffdPoison);
inline constexpr __u64 kFeaturePoison = 1ull << 14;

// /dev/userfaultfd, Linux 6.1: the right to handle kernel-mode faults follows from opening it.
inline constexpr unsigned long kUserfaultfdNew = _IO(UFFDIO, 0x00);

struct PageRegion {
  __u64 start, end, categories;
};
struct PagemapScan {
  __u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
  __u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
inline constexpr __u64 kPageIsFile = 1 << 2, kPageIsPresent = 1 << 3, kPageIsSwapped = 1 << 4, kPageIsHuge = 1 << 6;

inline constexpr int kMadvPopulateWrite = 23;
inline constexpr int kMadvGuardInstall = 102, kMadvGuardRemove = 103;  // Linux 6.13

}  // namespace ebb::abi
