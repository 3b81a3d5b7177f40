// `ebb run`: its command line, its default tier, its control page and what it says at the end.
#include <gtest/gtest.h>
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "tools/console.h"
#include "tools/job_page.h"
#include "tools/report.h"
#include "tools/run_options.h"
#include "tools/tier.h"

namespace ebb::tools {
namespace {

using Words = std::vector<std::string>;

std::string refusal(const Words& words) {
  try {
    parse_run(words);
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

TEST(RunOptionsTest, EndAtTheFirstWordThatIsNotOne) {
  const auto options = parse_run({"-d", "8G", "-s", "file:/a", "--slow=file:/b", "-q", "Rscript", "-d", "--", "-q"});
  EXPECT_EQ(options.dram, "8G");
  EXPECT_EQ(options.slow, (Words{"file:/a", "file:/b"}));
  EXPECT_EQ(options.verbosity, Verbosity::kQuiet);
  EXPECT_EQ(options.command, (Words{"Rscript", "-d", "--", "-q"}));
  EXPECT_EQ(options.name, "Rscript");
}

TEST(RunOptionsTest, EndAtTwoDashes) {
  EXPECT_EQ(parse_run({"-v", "--", "-x", "--"}).command, (Words{"-x", "--"}));
  EXPECT_EQ(parse_run({"--", "/usr/bin/R"}).name, "R");
  EXPECT_EQ(parse_run({"-qd8G", "x"}).dram, "8G");
  EXPECT_EQ(parse_run({"-qd", "8G", "x"}).command, Words{"x"});
  EXPECT_EQ(parse_run({"-", "x"}).command, (Words{"-", "x"}));
}

TEST(RunOptionsTest, SnapshotsAreNamed) {
  const auto options = parse_run({"--resume", "a", "--snapshot-on=USR1", "--name", "b", "x"});
  EXPECT_EQ(options.resume, "a");
  EXPECT_EQ(options.snapshot_on->signal, SIGUSR1);
  EXPECT_EQ(options.snapshot_on->tag, "b");
  EXPECT_EQ(parse_run({"--snapshot-on", "SIGTERM=c", "x"}).snapshot_on->tag, "c");
  EXPECT_FALSE(parse_run({"x"}).snapshot_on);
  EXPECT_FALSE(parse_run({"x", "--clean-ahead"}).clean_ahead);
  EXPECT_TRUE(parse_run({"--clean-ahead", "x"}).clean_ahead);
}

TEST(RunOptionsTest, RefusalsNameTheOption) {
  EXPECT_NE(refusal({"--color", "x"}).find("--color"), std::string::npos);
  EXPECT_NE(refusal({"-d"}).find("--dram"), std::string::npos);
  EXPECT_NE(refusal({"--name", "a\nb", "x"}).find("--name"), std::string::npos);
  EXPECT_NE(refusal({"-d", "8G"}).find("no command"), std::string::npos);
  EXPECT_NE(refusal({"--resume", "a/b", "x"}).find("--resume"), std::string::npos);
  EXPECT_NE(refusal({"--snapshot-on", "SIGINT", "x"}).find("SIGUSR1"), std::string::npos);
  EXPECT_NE(refusal({"--snapshot-on", "USR1", "--name", "a b", "x"}).find("=TAG"), std::string::npos);
  EXPECT_NE(refusal({}).find("no command"), std::string::npos);
}

TEST(TierTest, DefaultFollowsSlurmThenTheCache) {
  EXPECT_EQ(default_tier_path({"7", "/scratch", "/c", "/h"}, 5), "/scratch/ebbtide-5");
  EXPECT_EQ(default_tier_path({nullptr, "/scratch", "/c", "/h"}, 5), "/c/ebbtide");
  EXPECT_EQ(default_tier_path({nullptr, nullptr, "relative", "/h"}, 5), "/h/.cache/ebbtide");
  EXPECT_EQ(default_tier_path({"7", nullptr, nullptr, nullptr}, 5), "");
}

TEST(JobPageTest, IsInitialisedAndReadBack) {
  JobPage page(Bytes{uint64_t{64} << 20});
  EXPECT_EQ(page.control()->magic, kControlMagic);
  EXPECT_EQ(page.control()->size, sizeof(JobControl));
  page.control()->counters.evicted_bytes = 4096;
  page.control()->messages = 3;
  page.control()->message[0].ready = 1;
  std::copy_n("disk full", 10, page.control()->message[0].text);
  const JobCounts counts = page.read();
  EXPECT_EQ(counts.budget, uint64_t{64} << 20);
  EXPECT_EQ(counts.evicted, 4096u);
  EXPECT_EQ(counts.messages, Words{"disk full"});
  EXPECT_EQ(counts.messages_posted, 3u);
  page.control()->slot[3].pid = 1;  // no lock on it: its owner is gone
  EXPECT_TRUE(page.members().empty());
}

RunRecord paged_run() {
  RunRecord run;
  run.name = "job";
  run.managed = true;
  run.wall_ns = 133'000'000'000;
  run.counts.budget = run.counts.peak_charged = uint64_t{2} << 30;
  run.counts.peak_need = uint64_t{5} << 30;
  run.counts.evicted = run.counts.written = uint64_t{3} << 30;
  run.counts.processes = run.counts.paged_processes = 1;
  return run;
}

std::string joined(const RunRecord& run) {
  std::string out;
  for (const auto& line : summary_lines(run)) out += line + "\n";
  return out;
}

TEST(SummaryTest, OneLineWhenNothingMoved) {
  RunRecord run;
  run.managed = true;
  run.counts.processes = 1;
  EXPECT_EQ(summary_lines(run).size(), 1u);
  EXPECT_NE(joined(run).find("fitted in DRAM: nothing moved"), std::string::npos);
}

TEST(SummaryTest, AboutTenLinesWhenPaged) {
  const auto run = paged_run();
  EXPECT_LE(summary_lines(run).size(), 10u);
  EXPECT_NE(joined(run).find("exit 0 after 2 min 13 s"), std::string::npos);
  EXPECT_NE(joined(run).find("5.0 GiB"), std::string::npos);
}

TEST(SummaryTest, TroublesAreShown) {
  auto run = paged_run();
  run.counts.bad_pages = 1;
  run.counts.messages = {"layer 3: bad page"};
  run.counts.messages_posted = 4;
  run.survivors = {17};
  const auto text = joined(run);
  for (const char* part : {"1 pages came back damaged", "layer 3: bad page", "and 3 more", "process 17"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST(ReportTest, SignalsAndSizesAreIntegers) {
  auto run = paged_run();
  run.end.status = SIGKILL;
  const auto report = report_json(run);
  EXPECT_EQ(report["schema"], "ebbtide.run/1");
  EXPECT_EQ(report["exit_code"], 137);
  EXPECT_EQ(report["signal_name"], "SIGKILL");
  EXPECT_TRUE(report["job"]["peak_need_bytes"].is_number_integer());
  EXPECT_EQ(report["started_at"], "1970-01-01T00:00:00.000Z");
}

TEST(ConsoleTest, NumbersAsPeopleReadThem) {
  EXPECT_EQ(readable(Bytes{1023}), "1023 B");
  EXPECT_EQ(readable(Bytes{1536}), "1.5 KiB");
  EXPECT_EQ(readable_time(850'000), "850 us");
  EXPECT_EQ(readable_time(3'210'000'000), "3.21 s");
  EXPECT_EQ(readable_time(3'720'000'000'000), "1 h 02 min");
  EXPECT_EQ(rfc3339(1'769'850'307'123'000'000), "2026-01-31T09:05:07.123Z");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("plain"), "plain");
}

}  // namespace
}  // namespace ebb::tools
