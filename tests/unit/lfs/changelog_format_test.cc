#include "apps/lfs/changelog_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sheen::lfs {
namespace {

void Set(uint64_t seq, uint32_t oid, v1::Fid* out) {
  out->set_seq(seq);
  out->set_oid(oid);
}

// 2026-11-21 00:33:25.296886370 UTC
constexpr int64_t kTime = 1'795'221'205'296'886'370;

v1::ChangelogRecord MakeDir() {
  v1::ChangelogRecord record;
  record.set_index(1);
  record.set_type(2);
  record.set_time_ns(kTime);
  Set(0x200000401, 0xb, record.mutable_fid());
  Set(0x200000007, 1, record.mutable_parent());
  record.set_name("cl");
  record.set_nid("0@lo");
  return record;
}

TEST(ChangelogFormatTest, NothingBreaksTheLine) {
  v1::ChangelogRecord record = MakeDir();
  record.set_name("a b\n9 \\\x7f\xc3\xa9");
  record.set_job_id("x y\n");
  record.set_xattr("user.\t");
  EXPECT_EQ(FormatChangelogRecord(record),
            "1 02MKDIR 00:33:25.296886370 2026.11.21 0x0 t=[0x200000401:0xb:0x0] "
            "j=x\\x20y\\x0a ef=0x1b u=0:0 nid=0@lo x=user.\\x09 p=[0x200000007:0x1:0x0] "
            "a b\\x0a9 \\x5c\\x7f\xc3\xa9\n");
}

TEST(ChangelogFormatTest, LinesAreLustres) {
  EXPECT_EQ(FormatChangelogRecord(MakeDir()),
            "1 02MKDIR 00:33:25.296886370 2026.11.21 0x0 t=[0x200000401:0xb:0x0] ef=0x13 u=0:0 "
            "nid=0@lo p=[0x200000007:0x1:0x0] cl\n");
  v1::ChangelogRecord rename = MakeDir();
  rename.set_index(7);
  rename.set_type(8);
  Set(0, 0, rename.mutable_fid());
  Set(0x200000401, 0xb, rename.mutable_parent());
  rename.set_name("c");
  Set(0x200000401, 0xd, rename.mutable_source());
  Set(0x200000401, 0xb, rename.mutable_source_parent());
  rename.set_source_name("b");
  EXPECT_EQ(FormatChangelogRecord(rename),
            "7 08RENME 00:33:25.296886370 2026.11.21 0x0 t=[0:0x0:0x0] ef=0x13 u=0:0 nid=0@lo "
            "p=[0x200000401:0xb:0x0] c s=[0x200000401:0xd:0x0] sp=[0x200000401:0xb:0x0] b\n");
  v1::ChangelogRecord xattr = MakeDir();
  xattr.clear_parent();
  xattr.clear_name();
  xattr.set_type(15);
  xattr.set_xattr("user.x");
  EXPECT_EQ(FormatChangelogRecord(xattr),
            "1 15XATTR 00:33:25.296886370 2026.11.21 0x0 t=[0x200000401:0xb:0x0] ef=0x1b u=0:0 "
            "nid=0@lo x=user.x\n");
  v1::ChangelogRecord truncate = MakeDir();
  truncate.set_type(13);
  truncate.set_flags(0xe);
  truncate.clear_name();
  EXPECT_EQ(FormatChangelogRecord(truncate),
            "1 13TRUNC 00:33:25.296886370 2026.11.21 0xe t=[0x200000401:0xb:0x0] ef=0x13 u=0:0 "
            "nid=0@lo p=[0x200000007:0x1:0x0]\n");
}

TEST(ChangelogFormatTest, OpeningsShowTheirModeAndJobsTheirName) {
  v1::ChangelogRecord open = MakeDir();
  open.clear_parent();
  open.clear_name();
  open.set_type(10);
  open.set_flags(0x2003);
  open.set_open_mode(3);
  open.set_job_id("cp.0");
  open.set_uid(1000);
  open.set_gid(100);
  EXPECT_EQ(FormatChangelogRecord(open),
            "1 10OPEN  00:33:25.296886370 2026.11.21 0x3 t=[0x200000401:0xb:0x0] j=cp.0 ef=0x17 "
            "u=1000:100 nid=0@lo m=rw-\n");
}

TEST(ChangelogFormatTest, JsonHasTheSame) {
  v1::ChangelogRecord record = MakeDir();
  record.set_name("a\xff\"b");  // no UTF-8
  const auto json = nlohmann::json::parse(ChangelogRecordJson(record));
  EXPECT_EQ(json["type"], "MKDIR");
  EXPECT_EQ(json["time_ns"], kTime);
  EXPECT_EQ(json["parent"], "[0x200000007:0x1:0x0]");
  EXPECT_FALSE(json.contains("source"));
}

}  // namespace
}  // namespace sheen::lfs
