// See failure_point.h.
#include "snapshot/failure_point.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace ebb::snapshot {
namespace {

std::function<void(const char*)>& the_hook() {
  static std::function<void(const char*)> hook;
  return hook;
}

long asked_for() {
  const char* text = std::getenv("EBB_TEST_FAILURE_POINT");
  return text ? std::atol(text) : 0;
}

}  // namespace

void failure_point(const char* step) {
  static const long last = asked_for();
  static std::atomic<long> count = 0;
  if (last > 0 && ++count == last) raise(SIGKILL);
  if (the_hook()) the_hook()(step);
}

void set_failure_hook(std::function<void(const char*)> hook) { the_hook() = std::move(hook); }

}  // namespace ebb::snapshot
