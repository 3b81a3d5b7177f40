// Where a snapshot's images are: see snapshot_place.h.
#include "tools/snapshot_place.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>

#include "tools/console.h"

namespace ebb::tools {
namespace {

std::string snapshot_folder(const std::string& tag) {
  if (tag.empty() || tag == "." || tag == "..") throw Failure("a snapshot needs a name");
  if (tag.find('/') != std::string::npos) return std::filesystem::absolute(tag);
  const char* base = std::getenv("EBB_SNAPSHOTS");
  if (!base || *base != '/')
    throw Failure("EBB_SNAPSHOTS names no folder for snapshots; set it, or give a path instead of a tag");
  return fmt::format("{}/{}", base, tag);
}

}  // namespace

std::string snapshot_images(const std::string& tag, bool create) {
  const std::string folder = snapshot_folder(tag), images = folder + "/images";
  if (create) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), error);
    for (const auto& path : {folder, images})
      if (mkdir(path.c_str(), 0700) != 0)
        throw Failure(errno == EEXIST
                          ? fmt::format("snapshot {} is there already; choose another name", shell_quoted(tag))
                          : fmt::format("cannot make {}: {}", path, error_text(errno)));
    return images;
  }
  struct stat info = {};
  if (stat(images.c_str(), &info) != 0)
    throw Failure(fmt::format("no snapshot {} ({}: {})", shell_quoted(tag), images, error_text(errno)));
  // Whoever can write there decides what runs in our name.
  if (info.st_uid != geteuid() || info.st_mode & (S_IWGRP | S_IWOTH))
    throw Failure(fmt::format("{} belongs to or can be written by others: it is not restored", images));
  return images;
}

void drop_snapshot(const std::string& images) {
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(images).parent_path(), ignored);
}

}  // namespace ebb::tools
