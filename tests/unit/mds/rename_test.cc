#include "mds_fixture.h"

namespace sheen::mds {
namespace {

constexpr uint32_t kNoReplace = 1;
constexpr uint32_t kExchange = 2;

using RenameTest = MdsFixture;

// Every kind of source over every kind of target, in one directory and across two.
TEST_F(RenameTest, SourceOverTargetMatrix) {
  const std::string kinds[] = {"none", "file", "empty", "full"};
  struct Row {
    const char* source;
    Errc over_none, over_file, over_empty, over_full;
  };
  const Row rows[] = {
      {"none", Errc::kNoEntry, Errc::kNoEntry, Errc::kNoEntry, Errc::kNoEntry},
      {"file", Errc::kOk, Errc::kOk, Errc::kIsDirectory, Errc::kIsDirectory},
      {"empty", Errc::kOk, Errc::kNotDirectory, Errc::kOk, Errc::kNotEmpty},
      {"full", Errc::kOk, Errc::kNotDirectory, Errc::kOk, Errc::kNotEmpty},
  };
  int number = 0;
  const auto make = [&](const Fid& parent, const std::string& name, const std::string& kind) {
    if (kind == "none") return Fid();
    if (kind == "file") return Create(parent, name);
    const Fid fid = MakeDir(parent, name);
    if (kind == "full") Create(fid, "inside");
    return fid;
  };
  for (const bool across : {false, true}) {
    for (const Row& row : rows) {
      const Errc expected[] = {row.over_none, row.over_file, row.over_empty, row.over_full};
      for (size_t i = 0; i < 4; ++i) {
        SCOPED_TRACE(std::string(row.source) + " over " + kinds[i] + (across ? " across" : ""));
        const Fid from = MakeDir(kRootFid, "from" + std::to_string(number));
        const Fid to = across ? MakeDir(kRootFid, "to" + std::to_string(number)) : from;
        ++number;
        const Fid source = make(from, "s", row.source);
        const Fid target = make(to, "t", kinds[i]);
        EXPECT_EQ(Rename(from, "s", to, "t"), expected[i]);
        const bool moved = expected[i] == Errc::kOk;
        EXPECT_EQ(Find(to, "t"), moved ? source : target);
        EXPECT_EQ(Find(from, "s"), moved ? Fid() : source);
        if (moved && row.source != std::string("file")) EXPECT_EQ(Find(source, ".."), to);
        CheckStore();
      }
    }
  }
}

TEST_F(RenameTest, NoReplaceAndExchange) {
  const Fid d = MakeDir(kRootFid, "d");
  const Fid a = Create(kRootFid, "a");
  const Fid b = MakeDir(d, "b");
  Create(b, "inside");
  EXPECT_EQ(Rename(kRootFid, "a", d, "b", kNoReplace), Errc::kExists);
  EXPECT_EQ(Rename(kRootFid, "a", d, "none", kExchange), Errc::kNoEntry);
  EXPECT_EQ(Rename(kRootFid, "a", d, "b", kNoReplace | kExchange), Errc::kInvalid);
  EXPECT_EQ(Rename(kRootFid, "a", d, "b", 4), Errc::kInvalid);
  EXPECT_EQ(Rename(kRootFid, "a", d, "b", kExchange), Errc::kOk);
  EXPECT_EQ(Find(kRootFid, "a"), b);
  EXPECT_EQ(Find(d, "b"), a);
  EXPECT_EQ(Find(b, ".."), kRootFid);
  EXPECT_EQ(Attr(d).nlink(), 2u);
  EXPECT_EQ(Attr(kRootFid).nlink(), 4u);
  EXPECT_EQ(Rename(d, "b", kRootFid, "c", kNoReplace), Errc::kOk);
  EXPECT_EQ(Rename(kRootFid, "a", kRootFid, "c", kExchange), Errc::kOk);
  EXPECT_EQ(Find(kRootFid, "c"), b);
}

TEST_F(RenameTest, ADirectoryNeverGoesBelowItself) {
  const Fid a = MakeDir(kRootFid, "a");
  const Fid b = MakeDir(a, "b");
  const Fid c = MakeDir(b, "c");
  EXPECT_EQ(Rename(kRootFid, "a", c, "x"), Errc::kInvalid);
  EXPECT_EQ(Rename(kRootFid, "a", a, "x"), Errc::kInvalid);
  EXPECT_EQ(Rename(a, "b", c, "x"), Errc::kInvalid);
  EXPECT_EQ(Rename(b, "c", kRootFid, "a"), Errc::kNotEmpty) << "over its own ancestor";
  EXPECT_EQ(Rename(b, "c", kRootFid, "a", kExchange), Errc::kInvalid);
  EXPECT_EQ(Rename(kRootFid, "a", b, "c", kExchange), Errc::kInvalid);
  EXPECT_EQ(Rename(b, "c", kRootFid, "c"), Errc::kOk);
  EXPECT_EQ(Rename(kRootFid, "a", c, "x"), Errc::kOk) << "no longer below";
}

TEST_F(RenameTest, TwoNamesOfOneFileAndTheSameNameDoNothing) {
  const Fid a = Create(kRootFid, "a");
  EXPECT_EQ(LinkTo(a, kRootFid, "b"), Errc::kOk);
  const int64_t before = Attr(a).ctime_ns();
  EXPECT_EQ(Rename(kRootFid, "a", kRootFid, "b"), Errc::kOk);
  EXPECT_EQ(Find(kRootFid, "a"), a);
  EXPECT_EQ(Find(kRootFid, "b"), a);
  EXPECT_EQ(Rename(kRootFid, "a", kRootFid, "a"), Errc::kOk);
  EXPECT_EQ(Rename(kRootFid, "a", kRootFid, "b", kNoReplace), Errc::kExists);
  EXPECT_EQ(Attr(a).ctime_ns(), before);
}

TEST_F(RenameTest, AReplacedFileLosesALinkAndKeepsItsOthers) {
  const Fid source = Create(kRootFid, "s");
  const Fid target = Create(kRootFid, "t");
  EXPECT_EQ(LinkTo(target, kRootFid, "other"), Errc::kOk);
  EXPECT_EQ(Rename(kRootFid, "s", kRootFid, "t"), Errc::kOk);
  EXPECT_EQ(Find(kRootFid, "t"), source);
  EXPECT_EQ(Attr(target).nlink(), 1u);
  EXPECT_GT(Attr(target).ctime_ns(), Attr(target).btime_ns());
}

TEST_F(RenameTest, TimesOfBothDirectoriesAndTheFileMove) {
  const Fid from = MakeDir(kRootFid, "from");
  const Fid to = MakeDir(kRootFid, "to");
  const Fid file = Create(from, "f");
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Rename(from, "f", to, "f"), Errc::kOk);
  const int64_t now = clock_.Wall().count();
  EXPECT_EQ(Attr(from).mtime_ns(), now);
  EXPECT_EQ(Attr(to).mtime_ns(), now);
  EXPECT_EQ(Attr(file).ctime_ns(), now);
  EXPECT_LT(Attr(file).mtime_ns(), now);
}

TEST_F(RenameTest, PermissionsOfBothSides) {
  const Fid mine = MakeDir(kRootFid, "mine");
  const Fid theirs = MakeDir(kRootFid, "theirs");
  ASSERT_TRUE(Chown(mine, 1000, 1000).ok());
  ASSERT_TRUE(Chown(theirs, 2000, 2000).ok());
  Create(mine, "f");
  const Fid sub = MakeDir(mine, "sub");
  EXPECT_EQ(Rename(mine, "f", theirs, "f", 0, {.credential = kUserCredential}), Errc::kAccess);
  EXPECT_EQ(Rename(mine, "f", theirs, "f", 0, {.credential = kOtherCredential}), Errc::kAccess);
  ASSERT_TRUE(Chmod(theirs, 0777).ok());
  EXPECT_EQ(Rename(mine, "f", theirs, "f", 0, {.credential = kUserCredential}), Errc::kOk);
  // Root owns `sub`: its ".." would change, and the user may not write it.
  EXPECT_EQ(Rename(mine, "sub", theirs, "sub", 0, {.credential = kUserCredential}), Errc::kAccess);
  ASSERT_TRUE(Chown(sub, 1000, 1000).ok());
  EXPECT_EQ(Rename(mine, "sub", theirs, "sub", 0, {.credential = kUserCredential}), Errc::kOk);
  ASSERT_TRUE(Chmod(theirs, 01777).ok());
  EXPECT_EQ(Rename(theirs, "f", mine, "f", 0, {.credential = kUserCredential}), Errc::kPerm)
      << "sticky, and root's file";
}

}  // namespace
}  // namespace sheen::mds
