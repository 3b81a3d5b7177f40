// `ebb doctor`: its outputs and its verdict, on made-up checks.
#include "tools/doctor.h"

#include <gtest/gtest.h>

namespace ebb::tools {
namespace {

Checks some_checks(Health worst) {
  return {{"kernel", "kernel", Health::kOk, "Linux 6.12", "unused", "unused"},
          {"criu", "a longer title", worst, "absent", "snapshots", "apt install criu"}};
}

TEST(DoctorTest, ReadsReleases) {
  EXPECT_EQ(parse_release("6.18.44-fc"), (ReleaseNumber{6, 18}));
  EXPECT_EQ(parse_release("3.17.1"), (ReleaseNumber{3, 17}));
  EXPECT_EQ(parse_release("4"), (ReleaseNumber{4, 0}));
  EXPECT_LT(parse_release("4.1"), parse_release("4.10"));
  EXPECT_LT(parse_release("3.17"), parse_release("4.1"));
  EXPECT_EQ(parse_release("x"), ReleaseNumber{});
}

TEST(DoctorTest, OnlyAFailureForbidsPaging) {
  EXPECT_TRUE(can_page(some_checks(Health::kOk)));
  EXPECT_TRUE(can_page(some_checks(Health::kWarn)));
  EXPECT_FALSE(can_page(some_checks(Health::kFail)));
}

TEST(DoctorTest, TextIsAlignedAndSaysWhatIsLostOnlyWhenItIs) {
  const auto text = doctor_text(some_checks(Health::kWarn), false);
  EXPECT_NE(text.find("ok    kernel          Linux 6.12\n"), std::string::npos) << text;
  EXPECT_NE(text.find("warn  a longer title  absent\n"), std::string::npos) << text;
  EXPECT_NE(text.find("lost: snapshots\n"), std::string::npos);
  EXPECT_NE(text.find("mend: apt install criu\n"), std::string::npos);
  EXPECT_EQ(text.find("unused"), std::string::npos);
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_NE(doctor_text(some_checks(Health::kWarn), true).find('\033'), std::string::npos);
}

TEST(DoctorTest, JsonHasTheSchemaAndTheVerdict) {
  const auto json = doctor_json(some_checks(Health::kFail), {{"swap_bytes", 0}});
  EXPECT_EQ(json["schema"], "ebbtide.doctor/1");
  EXPECT_EQ(json["can_page"], false);
  EXPECT_EQ(json["checks"][1]["status"], "fail");
  EXPECT_EQ(json["facts"]["swap_bytes"], 0);
}

}  // namespace
}  // namespace ebb::tools
