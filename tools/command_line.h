// Parsing the words of a subcommand, with errors as the command says them.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace ebb::tools {

// Has `app` parse `words`. The help text when it was asked for; Failure (125) names what is wrong.
std::optional<std::string> parse_words(CLI::App& app, const std::vector<std::string>& words);

}  // namespace ebb::tools
