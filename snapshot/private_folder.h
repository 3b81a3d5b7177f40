// A clone's temporary directory: what was there, and what the clone changes stays its own. An overlay file system whose
// lower folder is the directory itself.
#pragma once

#include <sys/types.h>
#include <string>

namespace ebb::snapshot {

// In this process's mount namespace, which is not shared with anybody: mounts a private copy of `folder` over it. What
// is changed goes to `scratch`/upper, a folder outside of `folder`; it starts with what save_private_folder put into
// `images`. Failure with the reason.
void mount_private_folder(const std::string& folder, const std::string& scratch, const std::string& images);

// Whether process `pid` has such a mount over `folder`: it is part of a clone.
bool has_private_folder(pid_t pid, const std::string& folder);

// When process `pid` has such a mount over `folder`: packs what it changed into `images`/temporary.tar. The process
// stands still. Failure with the reason.
void save_private_folder(pid_t pid, const std::string& folder, const std::string& images);

}  // namespace ebb::snapshot
