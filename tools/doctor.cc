// `ebb doctor`: the command and its two outputs; see doctor.h.
#include "tools/doctor.h"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>

#include "tools/console.h"

namespace ebb::tools {
namespace {

const char* word(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kWarn:
      return "warn";
    case Health::kFail:
      return "fail";
  }
  return "";
}

// Blue, yellow and magenta can be told apart by nearly everyone; the word is there as well.
const char* colour_of(Health health) {
  switch (health) {
    case Health::kOk:
      return "\033[34m";
    case Health::kWarn:
      return "\033[33m";
    case Health::kFail:
      return "\033[1;35m";
  }
  return "";
}

constexpr char kDoctorHelp[] =
    "Usage: ebb doctor [--json]\n"
    "\n"
    "Says what this machine lets Ebbtide do, what is lost where it does not, and how to mend it.\n"
    "Exit code 0 when programs can be paged here, 1 otherwise.\n"
    "\n"
    "  --json      print schema ebbtide.doctor/1 instead of text\n"
    "  -h,--help   print this and exit\n";

}  // namespace

ReleaseNumber parse_release(std::string_view text) {
  ReleaseNumber release;
  const char* const end = text.data() + text.size();
  const auto [dot, error] = std::from_chars(text.data(), end, release.major);
  if (error == std::errc() && dot != end && *dot == '.') std::from_chars(dot + 1, end, release.minor);
  return release;
}

bool can_page(const Checks& checks) {
  return std::none_of(checks.begin(), checks.end(), [](const Check& c) { return c.health == Health::kFail; });
}

std::string doctor_text(const Checks& checks, bool colour) {
  size_t width = 0;
  for (const auto& check : checks) width = std::max(width, check.title.size());
  const std::string indent(width + 8, ' ');
  std::string out;
  for (const auto& check : checks) {
    out += fmt::format("{}{:<4}{}  {:<{}}  {}\n", colour ? colour_of(check.health) : "", word(check.health),
                       colour ? "\033[0m" : "", check.title, width, check.detail);
    if (check.health == Health::kOk) continue;
    if (!check.lost.empty()) out += fmt::format("{}lost: {}\n", indent, check.lost);
    if (!check.mend.empty()) out += fmt::format("{}mend: {}\n", indent, check.mend);
  }
  const auto count = [&](Health health) {
    return std::count_if(checks.begin(), checks.end(), [&](const Check& c) { return c.health == health; });
  };
  out += can_page(checks)
             ? fmt::format("\nEbbtide can run programs paged here (warnings: {}).\n", count(Health::kWarn))
             : fmt::format("\nEbbtide cannot page here: {} of the checks failed; programs run as without it.\n",
                           count(Health::kFail));
  return out;
}

nlohmann::json doctor_json(const Checks& checks, const nlohmann::json& facts) {
  const auto text = [](const std::string& s) { return s.empty() ? nlohmann::json(nullptr) : nlohmann::json(s); };
  nlohmann::json list = nlohmann::json::array();
  for (const auto& check : checks)
    list.push_back({{"id", check.id},
                    {"title", check.title},
                    {"status", word(check.health)},
                    {"detail", check.detail},
                    {"lost", text(check.lost)},
                    {"mend", text(check.mend)}});
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  return {{"schema", "ebbtide.doctor/1"},
          {"ebbtide_version", version()},
          {"created_at", rfc3339(static_cast<uint64_t>(now.count()))},
          {"can_page", can_page(checks)},
          {"checks", list},
          {"facts", facts}};
}

int doctor_command(const std::vector<std::string>& arguments) {
  bool as_json = false;
  for (const auto& argument : arguments) {
    if (argument == "--json") {
      as_json = true;
    } else if (argument == "--help" || argument == "-h") {
      write_all(STDOUT_FILENO, kDoctorHelp);
      return kExitOk;
    } else {
      throw Failure(fmt::format("unknown option {}; see: ebb doctor --help", shell_quoted(argument)));
    }
  }
  const SystemFiles files;
  Checks checks;
  nlohmann::json facts = nlohmann::json::object();
  check_kernel(files, &checks, &facts);
  check_memory(files, memory_here(), &checks, &facts);
  check_limits(files, &checks, &facts);
  check_storage(files, &checks, &facts);
  check_parts(files, &checks, &facts);
  check_snapshot(files, &checks, &facts);

  const char* no_colour = std::getenv("NO_COLOR");
  const bool colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
  using Json = nlohmann::json;
  const std::string out = as_json
                              ? doctor_json(checks, facts).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                              : doctor_text(checks, colour);
  if (!write_all(STDOUT_FILENO, out)) throw Failure("cannot write to standard output: " + error_text(errno));
  return can_page(checks) ? kExitOk : kExitNotPaged;
}

}  // namespace ebb::tools
