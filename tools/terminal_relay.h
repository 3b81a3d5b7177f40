// A pseudo terminal for a job that had one: what the job writes goes to our output, what we read goes to the job.
#pragma once

#include <termios.h>
#include <memory>
#include <thread>

#include "tools/fd.h"

namespace ebb::tools {

class TerminalRelay {
 public:
  TerminalRelay();  // Failure when there is no pseudo terminal to be had
  // Gives the terminal back and waits for the last output; the job has ended by then.
  ~TerminalRelay();
  TerminalRelay(const TerminalRelay&) = delete;
  TerminalRelay& operator=(const TerminalRelay&) = delete;

  int slave() const { return slave_.get(); }
  // Once the job has it.
  void release_slave() { slave_.reset(); }
  // For the threads' sake after the job's process was started. `input`: a terminal, which turns raw, or -1. Both stay
  // the caller's and open until the end.
  void start(int input, int output);
  // Our terminal has another size now.
  void resize();

 private:
  void copy_output(int output);
  void copy_input();

  Fd master_, slave_, stop_reading_, stop_;
  int input_ = -1;
  termios saved_ = {};
  std::thread out_, in_;
};

}  // namespace ebb::tools
