// A catalogue in a temporary folder, for the tests of the snapshot library.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "snapshot/archive.h"
#include "snapshot/catalogue.h"
#include "snapshot/error.h"
#include "snapshot/failure_point.h"

namespace ebb::snapshot {

namespace fs = std::filesystem;

inline void write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  ASSERT_TRUE(out.flush().good()) << path;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The text of the SnapshotError that `act` throws, or "" when it throws none.
template <class Act>
std::string error_of(const Act& act) {
  try {
    act();
  } catch (const SnapshotError& e) {
    return e.what();
  }
  return "";
}

// Runs `act` in a child that ends with its result, or 99 on an exception; the wait status.
template <class Act>
int in_child(const Act& act) {
  const pid_t child = fork();
  if (child == 0) {
    int code = 99;
    try {
      code = act();
    } catch (const std::exception& e) {
      fprintf(stderr, "in the child: %s\n", e.what());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

// Ends the process at the `last`-th failure point from now on, counted from 1.
inline void die_at(int last) {
  set_failure_hook([last, count = 0](const char*) mutable {
    if (++count == last) _exit(77);
  });
}

class CatalogueTest : public testing::Test {
 protected:
  CatalogueTest() {
    char name[] = "/tmp/ebb-snapshots-XXXXXX";
    folder_ = mkdtemp(name);
    root_ = folder_ / "snapshots";
  }
  ~CatalogueTest() override {
    set_failure_hook({});
    fs::remove_all(folder_);
  }

  Catalogue catalogue() const { return Catalogue(root_); }

  // Images and heap files as a snapshot has them, one of them sparse.
  static void fill(Draft* draft, const std::string& content) {
    write_file(draft->images() / "core-1.img", "core of " + content);
    write_file(draft->images() / "pages-1.img", std::string(9000, 'p') + content);
    write_file(draft->heap() / "0.heap", content);
    fs::resize_file(draft->heap() / "0.heap", 3 << 20);
    write_file(draft->log() / "dump.log", "");
    draft->manifest().command = {"Rscript", "a b.R"};
    draft->manifest().pids = {10, 11};
    draft->manifest().root_pid = 10;
  }
  Snapshot make(const std::string& tag, Durability durability = Durability::kCreated,
                const std::optional<std::string>& parent = {}) {
    Draft draft = catalogue().begin(tag, parent);
    fill(&draft, "content of " + tag);
    draft.publish(durability);
    return catalogue().find(tag);
  }
  std::vector<std::string> tags() const {
    std::vector<std::string> out;
    for (const auto& s : catalogue().list()) out.push_back(s.tag + " " + word(s.state));
    return out;
  }

  fs::path folder_;
  fs::path root_;
};

}  // namespace ebb::snapshot
