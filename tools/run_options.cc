// The command line of `ebb run`: see run_options.h.
#include "tools/run_options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "snapshot/root_folder.h"

namespace ebb::tools {
namespace {

// The parser knows nothing of the command behind the options.
class RunHelp : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: ebb run [options] [--] COMMAND [ARGUMENT...]\n\nOptions end at the first word that is not one.\n";
  }
};

// How many words the option in `word` takes from the rest of the line: 0 or 1.
size_t words_after(CLI::App& app, const std::string& word) {
  const auto takes_value = [&](const std::string& name) {
    const CLI::Option* option = app.get_option_no_throw(name);
    return option && option->get_items_expected_max() > 0;
  };
  if (word.rfind("--", 0) == 0) return word.find('=') == std::string::npos && takes_value(word) ? 1 : 0;
  // -qd 8G: short options in one word; what follows the first with a value is that value.
  for (size_t i = 1; i < word.size(); ++i)
    if (takes_value(std::string("-") + word[i])) return i + 1 == word.size() ? 1 : 0;
  return 0;
}

// The words of `arguments` that are ours; the rest is the command. Found here, since the parser must never see the
// program's own options.
size_t own_words(CLI::App& app, const std::vector<std::string>& arguments, size_t* command_at) {
  size_t at = 0;
  while (at < arguments.size()) {
    const std::string& word = arguments[at];
    if (word == "--") {
      *command_at = at + 1;
      return at;
    }
    if (word.size() < 2 || word[0] != '-') break;
    at = std::min(arguments.size(), at + 1 + words_after(app, word));
  }
  *command_at = at;
  return at;
}

std::string default_name(const std::string& command) {
  const size_t slash = command.rfind('/');
  return slash == std::string::npos ? command : command.substr(slash + 1);
}

void check_name(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= ' ' && c != 127; });
  if (name.empty() || name.size() > 128 || !plain) throw Failure("--name: 1 to 128 characters on one line, please");
}

}  // namespace

RunOptions parse_run(const std::vector<std::string>& arguments) {
  RunOptions options;
  std::string dram, snapshot_on;
  bool quiet = false, verbose = false;
  CLI::App app("Runs a command in a DRAM budget; what does not fit goes to a slower tier.", "ebb run");
  app.formatter(std::make_shared<RunHelp>());
  app.set_help_flag("-h,--help", "Print this and exit");
  auto* dram_option = app.add_option("-d,--dram", dram, "DRAM budget of the job: 8G, 512M, or 50% of the usable memory")
                          ->type_name("SIZE|PERCENT");
  app.add_option("-s,--slow", options.slow, "Slow tier, repeatable: file:PATH, a directory on a fast disk")
      ->type_name("SPEC")
      ->allow_extra_args(false);
  auto* name_option =
      app.add_option("--name", options.name, "Name of the job in reports [the command's]")->type_name("NAME");
  auto* report_option =
      app.add_option("--report", options.report, "Write a JSON report to this file")->type_name("FILE");
  auto* resume_option =
      app.add_option("--resume", options.resume, "Restore this snapshot; start the command only if there is none")
          ->type_name("TAG");
  auto* snapshot_option =
      app.add_option("--snapshot-on", snapshot_on, "Take a snapshot of the job when this command gets the signal")
          ->type_name("SIGNAL[=TAG]");
  app.add_flag("--clean-ahead", options.clean_ahead,
               "Write what the job changes to the slow tier in the background, so that a snapshot takes a moment");
  app.add_flag("-q,--quiet", quiet, "Print nothing but errors");
  app.add_flag("-v,--verbose", verbose, "Print what is done and why");

  size_t command_at = 0;
  const size_t ours = own_words(app, arguments, &command_at);
  std::vector<std::string> reversed(arguments.begin(), arguments.begin() + static_cast<ptrdiff_t>(ours));
  std::reverse(reversed.begin(), reversed.end());  // as the parser wants it
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    options.help = app.help();
    return options;
  } catch (const CLI::ExtrasError&) {
    for (size_t i = 0; i < ours; ++i) {
      const std::string name = arguments[i].substr(0, arguments[i].find('='));
      if (name[0] == '-' && !app.get_option_no_throw(name))
        throw Failure(fmt::format("unknown option {}; see: ebb run --help", name));
    }
    throw Failure("unknown option; see: ebb run --help");
  } catch (const CLI::ParseError& e) {
    throw Failure(fmt::format("{}; see: ebb run --help", e.what()));
  }

  if (quiet && verbose) throw Failure("--quiet and --verbose exclude each other");
  options.command.assign(arguments.begin() + static_cast<ptrdiff_t>(command_at), arguments.end());
  if (options.command.empty()) throw Failure("no command given; say: ebb run [options] [--] COMMAND [ARGUMENT...]");
  if (dram_option->count() > 0) options.dram = dram;
  if (report_option->count() > 0 && (options.report.empty() || options.report == "-"))
    throw Failure("--report: name a file (standard output belongs to the program)");
  if (name_option->count() > 0)
    check_name(options.name);
  else
    options.name = default_name(options.command[0]);
  if (resume_option->count() > 0 && !snapshot::is_tag(options.resume))
    throw Failure(fmt::format("--resume: {} is no name of a snapshot", shell_quoted(options.resume)));
  if (snapshot_option->count() > 0) {
    options.snapshot_on = parse_snapshot_on(snapshot_on);
    if (options.snapshot_on->tag.empty()) options.snapshot_on->tag = options.name;
    if (!snapshot::is_tag(options.snapshot_on->tag))
      throw Failure(fmt::format("--snapshot-on: the job's name {} is no name for a snapshot; give one: {}=TAG",
                                shell_quoted(options.name), snapshot_on));
  }
  if (quiet) options.verbosity = Verbosity::kQuiet;
  if (verbose) options.verbosity = Verbosity::kVerbose;
  return options;
}

}  // namespace ebb::tools
