// A pseudo terminal for a job that had one: see terminal_relay.h.
#include "tools/terminal_relay.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>

#include "tools/console.h"

namespace ebb::tools {

TerminalRelay::TerminalRelay() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
  if (!master_.valid() || grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0)
    throw Failure(fmt::format("cannot make a pseudo terminal: {}", error_text(errno)));
  slave_.reset(ioctl(master_.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  int ends[2];
  if (!slave_.valid() || pipe2(ends, O_CLOEXEC) != 0)
    throw Failure(fmt::format("cannot open a pseudo terminal: {}", error_text(errno)));
  stop_reading_.reset(ends[0]);
  stop_.reset(ends[1]);
}

void TerminalRelay::start(int input, int output) {
  input_ = input;
  if (input_ >= 0) {
    tcgetattr(input_, &saved_);
    termios raw = saved_;
    cfmakeraw(&raw);
    tcsetattr(input_, TCSANOW, &raw);
    resize();
    in_ = std::thread([this] { copy_input(); });
  }
  out_ = std::thread([this, output] { copy_output(output); });
}

TerminalRelay::~TerminalRelay() {
  slave_.reset();
  stop_.reset();
  if (in_.joinable()) in_.join();
  if (out_.joinable()) out_.join();
  if (input_ >= 0) tcsetattr(input_, TCSADRAIN, &saved_);
}

void TerminalRelay::resize() {
  winsize size = {};
  if (input_ >= 0 && ioctl(input_, TIOCGWINSZ, &size) == 0) ioctl(master_.get(), TIOCSWINSZ, &size);
}

// Ends when the last holder of the slave is gone: EIO.
void TerminalRelay::copy_output(int output) {
  char part[4096];
  for (;;) {
    const ssize_t n = read(master_.get(), part, sizeof(part));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    write_all(output, {part, static_cast<size_t>(n)});
  }
}

void TerminalRelay::copy_input() {
  char part[4096];
  for (;;) {
    pollfd both[] = {{input_, POLLIN, 0}, {stop_reading_.get(), POLLIN, 0}};
    if (poll(both, 2, -1) < 0 && errno != EINTR) return;
    if (both[1].revents != 0) return;
    if (both[0].revents == 0) continue;
    const ssize_t n = read(input_, part, sizeof(part));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || !write_all(master_.get(), {part, static_cast<size_t>(n)})) return;
  }
}

}  // namespace ebb::tools
