#include "mdt/changelog_records.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace sheen::mdt {
namespace {

// As in records_test.cc.
std::string Golden(const std::string& name) {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("/unit/")) + "/golden/mdt/" + name + ".hex");
  EXPECT_TRUE(file.good()) << name;
  std::string bytes;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      for (size_t i = 0; i + 1 < word.size(); i += 2) {
        bytes.push_back(static_cast<char>(std::stoi(word.substr(i, 2), nullptr, 16)));
      }
    }
  }
  return bytes;
}

constexpr Fid kFile{0x200000400, 0x1f, 0};
constexpr Fid kOther{0x200000400, 0x20, 0};
constexpr Fid kDirectory{0x200000007, 1, 0};
constexpr int64_t kTime = 1'700'000'000'000'000'005;

ChangelogRecord ExampleRecord() {
  ChangelogRecord record;
  record.type = LogType::kRename;
  record.flags = kLogLastLink;
  record.time_ns = kTime;
  record.fid = kFile;
  record.parent = kDirectory;
  record.name = "new";
  record.source = kOther;
  record.source_parent = kDirectory;
  record.source_name = "old";
  record.uid = 1000;
  record.gid = 100;
  record.nid = "10.0.0.5@tcp";
  record.job_id = "4711";
  return record;
}

ChangelogState ExampleState() {
  ChangelogUser user;
  user.id = 2;
  user.name = "policy";
  user.mask = LogBit(LogType::kCreate) | LogBit(LogType::kUnlink);
  user.index = 5;
  user.used_ns = kTime;
  return {.given = 12, .purged = 5, .next_user = 3, .users = {user}};
}

TEST(ChangelogRecordsTest, BytesAreThoseOfTheFormatDocument) {
  EXPECT_EQ(ChangelogKey(12), Golden("changelog.key"));
  EXPECT_EQ(Encode(ExampleRecord()), Golden("changelog"));
  EXPECT_EQ(kChangelogStateKey, Golden("changelog_state.key"));
  EXPECT_EQ(Encode(ExampleState()), Golden("changelog_state"));
}

TEST(ChangelogRecordsTest, TheyComeBackAsTheyWere) {
  EXPECT_EQ(DecodeChangelogRecord(Encode(ExampleRecord())).value(), ExampleRecord());
  ChangelogRecord longest = ExampleRecord();
  longest.name = longest.source_name = std::string(255, 'n');
  longest.xattr = "user." + std::string(250, 'x');
  EXPECT_EQ(DecodeChangelogRecord(Encode(longest)).value(), longest);
  EXPECT_EQ(DecodeChangelogState(Encode(ExampleState())).value(), ExampleState());
  EXPECT_EQ(DecodeChangelogState(Encode(ChangelogState())).value(), ChangelogState());
}

template <class Decode>
void ExpectRobust(const std::string& bytes, Decode decode) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode(bytes.substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(decode(bytes + '\0').has_value());
  std::string newer = bytes;
  newer[0] = 9;
  EXPECT_EQ(decode(newer).error().code(), Errc::kBadVersion);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x80);
    (void)decode(damaged);
  }
}

TEST(ChangelogRecordsTest, DamagedBytesAreRefused) {
  ExpectRobust(Encode(ExampleRecord()), DecodeChangelogRecord);
  ExpectRobust(Encode(ExampleState()), DecodeChangelogState);
  ChangelogRecord record = ExampleRecord();
  record.name = std::string(256, 'n');
  EXPECT_EQ(DecodeChangelogRecord(Encode(record)).error().code(), Errc::kCorrupt);
  record = ExampleRecord();
  record.type = static_cast<LogType>(kLogTypeCount);
  EXPECT_EQ(DecodeChangelogRecord(Encode(record)).error().code(), Errc::kCorrupt);
  ChangelogState state = ExampleState();
  state.users[0].id = 3;
  EXPECT_EQ(DecodeChangelogState(Encode(state)).error().code(), Errc::kCorrupt);
  state = ExampleState();
  state.purged = 13;
  EXPECT_EQ(DecodeChangelogState(Encode(state)).error().code(), Errc::kCorrupt);
}

TEST(ChangelogRecordsTest, MasksAreReadAsLustreWritesThem) {
  const LogMask two = LogBit(LogType::kCreate) | LogBit(LogType::kUnlink);
  EXPECT_EQ(ParseLogMask("CREAT UNLNK", 0).value(), two);
  EXPECT_EQ(ParseLogMask("UNLNK,CREAT", 7).value(), two);
  EXPECT_EQ(ParseLogMask("+UNLNK", LogBit(LogType::kCreate)).value(), two);
  EXPECT_EQ(ParseLogMask("-MKDIR", two | LogBit(LogType::kMakeDir)).value(), two);
  EXPECT_EQ(ParseLogMask("", 7).value(), 0u);
  EXPECT_NE(ParseLogMask("ALL", 0).value() & LogBit(LogType::kOpen), 0u);
  EXPECT_EQ(DefaultLogMask() & (LogBit(LogType::kOpen) | LogBit(LogType::kAtime)), 0u);
  EXPECT_NE(DefaultLogMask() & LogBit(LogType::kClose), 0u);
  EXPECT_EQ(ParseLogMask("CREATE", 0).error().code(), Errc::kInvalid);
  EXPECT_EQ(ParseLogMask("NOPEN", 0).error().code(), Errc::kNotSupported);
  EXPECT_EQ(FormatLogMask(two, ' '), "CREAT UNLNK ");
}

}  // namespace
}  // namespace sheen::mdt
