// The command line of `ebb snapshots`: see snapshots_options.h.
#include "tools/snapshots_options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "base/size.h"
#include "tools/console.h"

namespace ebb::tools {
namespace {

constexpr char kHelp[] =
    "Usage: ebb snapshots ls [--json]                      what there is\n"
    "       ebb snapshots show TAG [--json]                all that is known of one\n"
    "       ebb snapshots verify TAG|--all [--json]        compare files with sizes and checksums\n"
    "       ebb snapshots rm TAG...                        remove\n"
    "       ebb snapshots prune RULE... [--dry-run]        remove by age, number or size\n"
    "       ebb snapshots export TAG FILE|-                write as a tar file\n"
    "       ebb snapshots import FILE|- [--as TAG]         read one\n"
    "\n"
    "  --root DIR          where the snapshots are [EBB_SNAPSHOTS, else XDG_DATA_HOME/ebbtide/snapshots,\n"
    "                      else ~/.local/share/ebbtide/snapshots]\n"
    "  --keep-last N       prune: never remove the newest N; alone: remove all others\n"
    "  --older-than TIME   prune: remove what is older: 30m, 12h, 7d, 4w\n"
    "  --max-size SIZE     prune: remove the oldest until all take at most this on disk: 100G\n"
    "  --dry-run           prune: only say what would be removed\n"
    "  -h,--help           print this and exit\n"
    "\n"
    "A snapshot that others build on, or that a clone uses, is never removed.\n"
    "Exit code 0; verify: 1 when something is wrong; 125 when the command failed.\n";

constexpr std::chrono::hours kLongest{24 * 36525};

struct Texts {  // of options that have a grammar of their own
  std::string older_than, max_size;
};

uint64_t keep_last_of(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Failure(fmt::format("--keep-last: '{}' is not a number: say for example 3", text));
  return value;
}

void read_policy(CLI::App& app, const Texts& texts, const std::string& keep_last, SnapshotsOptions* options) {
  const auto given = [&](const char* name) { return app.get_option(name)->count() > 0; };
  if (given("--keep-last")) options->policy.keep_last = keep_last_of(keep_last);
  if (given("--older-than")) {
    options->policy.older_than = parse_duration(texts.older_than);
    if (!options->policy.older_than)
      throw Failure(fmt::format("--older-than: '{}' is not a time: say for example 30m, 12h or 7d", texts.older_than));
  }
  if (given("--max-size")) {
    const SizeSpec size = parse_size(texts.max_size, false);
    if (size.error != SizeError::kNone)
      throw Failure(fmt::format("--max-size: '{}' {}", texts.max_size, describe(size.error)));
    options->policy.max_size = size.bytes;
  }
  if (options->policy.empty())
    throw Failure("prune needs a rule: --keep-last N, --older-than TIME or --max-size SIZE; see: ebb snapshots --help");
}

void parse(CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as the parser wants it
  try {
    app.parse(reversed);
  } catch (const CLI::ExtrasError&) {
    const auto extra = app.remaining();
    throw Failure(fmt::format("{} {}; see: ebb snapshots --help",
                              !extra.empty() && extra[0][0] == '-' ? "unknown option" : "too many words:",
                              extra.empty() ? "" : shell_quoted(extra[0])));
  } catch (const CLI::ParseError& e) {
    throw Failure(fmt::format("{}; see: ebb snapshots --help", e.what()));
  }
}

struct Verb {
  const char* word;
  SnapshotsAction action;
  size_t least;  // words that are no options
  size_t most;
  const char* usage;
};
constexpr Verb kVerbs[] = {
    {"ls", SnapshotsAction::kList, 0, 0, "ls"},
    {"show", SnapshotsAction::kShow, 1, 1, "show TAG"},
    {"verify", SnapshotsAction::kVerify, 0, SIZE_MAX, "verify TAG... or verify --all"},
    {"rm", SnapshotsAction::kRemove, 1, SIZE_MAX, "rm TAG..."},
    {"prune", SnapshotsAction::kPrune, 0, 0, "prune RULE..."},
    {"export", SnapshotsAction::kExport, 2, 2, "export TAG FILE"},
    {"import", SnapshotsAction::kImport, 1, 1, "import FILE"},
};

bool wants_help(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const auto& a) { return a == "-h" || a == "--help"; });
}

}  // namespace

SnapshotsOptions parse_snapshots(const std::vector<std::string>& arguments) {
  SnapshotsOptions options;
  if (wants_help(arguments)) {
    options.help = kHelp;
    return options;
  }
  if (arguments.empty()) throw Failure("snapshots: say what to do: ls, show, verify, rm, prune, export or import");
  const auto verb =
      std::find_if(std::begin(kVerbs), std::end(kVerbs), [&](const Verb& v) { return arguments[0] == v.word; });
  if (verb == std::end(kVerbs))
    throw Failure(fmt::format("snapshots: unknown word {}; see: ebb snapshots --help", shell_quoted(arguments[0])));
  options.action = verb->action;

  Texts texts;
  std::string keep_last, as;
  std::vector<std::string> words;
  CLI::App app("", "ebb snapshots");
  app.set_help_flag();
  app.add_option("--root", options.root)
      ->check(CLI::Validator(
          [](const std::string& text) { return text.empty() ? std::string("an empty name") : std::string(); }, "DIR"));
  app.add_option("words", words);
  using Action = SnapshotsAction;
  if (verb->action == Action::kList || verb->action == Action::kShow || verb->action == Action::kVerify)
    app.add_flag("--json", options.json);
  if (verb->action == Action::kVerify) app.add_flag("--all", options.all);
  if (verb->action == Action::kImport) app.add_option("--as", as);
  if (verb->action == Action::kPrune) {
    app.add_option("--keep-last", keep_last);
    app.add_option("--older-than", texts.older_than);
    app.add_option("--max-size", texts.max_size);
    app.add_flag("--dry-run", options.dry_run);
  }
  parse(app, {arguments.begin() + 1, arguments.end()});

  const bool unclear = verb->action == Action::kVerify && options.all != words.empty();
  if (unclear || words.size() < verb->least || words.size() > verb->most)
    throw Failure(fmt::format("say: ebb snapshots {}", verb->usage));
  if (verb->action == Action::kPrune) read_policy(app, texts, keep_last, &options);
  if (verb->action == Action::kExport || verb->action == Action::kImport) {
    options.file = words.back();
    words.pop_back();
  }
  if (verb->action == Action::kImport && app.get_option("--as")->count() > 0) options.as = as;
  options.tags = std::move(words);
  return options;
}

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  int64_t number = 0;
  const char* const unit = text.data() + text.size() - 1;
  const auto [end, error] = std::from_chars(text.data(), unit, number);
  if (error != std::errc() || end != unit || number <= 0) return std::nullopt;
  int64_t seconds = 0;
  switch (*unit) {
    case 's':
      seconds = 1;
      break;
    case 'm':
      seconds = 60;
      break;
    case 'h':
      seconds = 3600;
      break;
    case 'd':
      seconds = 24 * 3600;
      break;
    case 'w':
      seconds = 7 * 24 * 3600;
      break;
    default:
      return std::nullopt;
  }
  if (number > std::chrono::seconds(kLongest).count() / seconds) return std::nullopt;
  return std::chrono::seconds(number * seconds);
}

}  // namespace ebb::tools
