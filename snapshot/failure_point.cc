// See failure_point.h.
#include "snapshot/failure_point.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
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

// True the first time that the step is asked for.
bool is_stop(const char* step) {
  static const char* const wanted = std::getenv("EBB_TEST_STOP_POINT");
  static std::atomic<bool> was = false;
  return wanted && std::strcmp(wanted, step) == 0 && !was.exchange(true);
}

}  // namespace

void failure_point(const char* step) {
  static const long last = asked_for();
  static std::atomic<long> count = 0;
  if (last > 0 && ++count == last) raise(SIGKILL);
  if (is_stop(step)) raise(SIGSTOP);
  if (the_hook()) the_hook()(step);
}

void set_failure_hook(std::function<void(const char*)> hook) { the_hook() = std::move(hook); }

}  // namespace ebb::snapshot
