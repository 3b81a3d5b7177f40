// Parsing the words of a subcommand: see command_line.h.
#include "tools/command_line.h"

#include <fmt/format.h>
#include <algorithm>

#include "tools/console.h"

namespace ebb::tools {

std::optional<std::string> parse_words(CLI::App& app, const std::vector<std::string>& words) {
  app.set_help_flag("-h,--help", "Print this and exit");
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // as the parser wants it
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return app.help();
  } catch (const CLI::ParseError& e) {
    std::string text = e.what();
    std::replace(text.begin(), text.end(), '\n', ' ');
    throw Failure(fmt::format("{}; see: {} --help", text, app.get_name()));
  }
  return std::nullopt;
}

}  // namespace ebb::tools
