// What a snapshot must remember of a job beside CRIU's images: job.json (how it hangs together with the world outside)
// and files.json (the regular files that it had open or mapped), both in the images' folder.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/process_tree.h"

namespace ebb::snapshot {

struct RecordedPipe {
  uint64_t inode = 0;
  int descriptor = -1;  // the standard descriptor that the job uses it as
};

struct JobRecord {
  pid_t root = 0;                         // in the job's own PID namespace
  std::string command;                    // its name, for people
  std::string temporary_directory;        // its TMPDIR
  bool terminal = false;                  // it had one
  bool own_namespace = false;             // it ran in a PID namespace of its own: a clone
  bool tcp = false;                       // CRIU was asked to keep TCP connections
  std::vector<RecordedPipe> pipes;        // to processes outside, used as standard descriptors
  std::vector<std::string> output_files;  // regular files that are descriptor 1 or 2 of the root
  std::vector<pid_t> paged;               // processes whose heaps are sealed, in the job's own PID namespace
  std::string heap;                       // folder in which the files of these were, as CRIU's images have it
};

struct RecordedFile {
  std::string path;
  uint64_t size = 0;     // bytes
  int64_t mtime_ns = 0;  // since the epoch
  uint64_t inode = 0;    // for people: a copy of the file elsewhere has another
};

// Of a tree that stands still. Failure when it may not be looked at.
JobRecord record_job(const ProcessTree& tree);
// Without those in the folder `heap` (""; none), which are part of the snapshot.
std::vector<RecordedFile> record_files(const ProcessTree& tree, const std::string& heap);

// In the folder `images`, synced to the device by whoever publishes it. Failure with the reason.
void write_job(const std::string& images, const JobRecord& job);
void write_files(const std::string& images, const std::vector<RecordedFile>& files);
JobRecord read_job(const std::string& images);
std::vector<RecordedFile> read_files(const std::string& images);

struct ChangedFile {
  std::string path;
  bool missing = false;
  bool grown = false;  // the same file, with more in it
  std::string text;    // "/data/a.h5ad: 12 bytes instead of 10"
};
// What does not look as it did, seen from this process's root.
std::vector<ChangedFile> changed_files(const std::vector<RecordedFile>& files);

}  // namespace ebb::snapshot
