#include "mds/changelog.h"

#include <fmt/format.h>
#include <sys/xattr.h>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

using mdt::LogType;

class ChangelogTest : public MdsFixture {
 protected:
  std::string Register(const std::string& name = "", const std::string& mask = "") {
    v1::ChangelogUserRequest request;
    request.set_name(name);
    request.set_mask(mask);
    const auto reply = Run(service_->ChangeChangelogUser(request));
    EXPECT_TRUE(reply.has_value()) << reply.error().ToString();
    return reply ? reply->user() : "";
  }
  Errc Deregister(const std::string& user) {
    v1::ChangelogUserRequest request;
    request.set_remove(true);
    request.set_name(user);
    const auto reply = Run(service_->ChangeChangelogUser(request));
    return reply ? Errc::kOk : reply.error().code();
  }
  std::vector<v1::ChangelogRecord> Read(uint64_t start = 0, uint64_t end = 0,
                                        const std::string& user = "") {
    v1::ReadChangelogRequest request;
    request.set_start(start);
    request.set_end(end);
    request.set_user(user);
    std::vector<v1::ChangelogRecord> out;
    for (;;) {
      const auto page = Call<v1::ReadChangelogReply>(rpc::Opcode::kMdsReadChangelog, request);
      EXPECT_TRUE(page.ok()) << page.message;
      for (const auto& record : page.reply.records()) out.push_back(record);
      if (!page.ok() || page.reply.end()) return out;
      EXPECT_GT(page.reply.next(), request.start());
      request.set_start(page.reply.next());
    }
  }
  // "CREAT a", "RENME a>b"; flags that are not 0 behind it.
  static std::string Line(const v1::ChangelogRecord& record) {
    std::string out(mdt::NameOfLogType(record.type()));
    if (record.has_source()) {
      out += " " + record.source_name() + ">" + record.name();
    } else if (!record.name().empty()) {
      out += " " + record.name();
    }
    if (!record.xattr().empty()) out += " " + record.xattr();
    if (record.flags() != 0) out += fmt::format(" {:#x}", record.flags());
    return out;
  }
  std::vector<std::string> Lines(uint64_t start = 0, uint64_t end = 0,
                                 const std::string& user = "") {
    std::vector<std::string> out;
    for (const auto& record : Read(start, end, user)) out.push_back(Line(record));
    return out;
  }
  Errc Clear(const std::string& user, uint64_t end, uint32_t credential = 0) {
    v1::ClearChangelogRequest request;
    request.set_user(user);
    request.set_end(end);
    return Call<v1::ClearChangelogReply>(rpc::Opcode::kMdsClearChangelog, request,
                                         {.credential = credential})
        .status;
  }
  size_t Rows() {
    size_t rows = 0;
    const auto cursor = store_->NewCursor(mdt::kChangelog, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) ++rows;
    return rows;
  }
  void Sync() {
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  }
  using Texts = std::vector<std::string>;
};

TEST_F(ChangelogTest, WithoutAUserNothingIsRecorded) {
  Create(kRootFid, "a");
  EXPECT_EQ(Rows(), 0u);
  const std::string user = Register();
  EXPECT_EQ(user, "cl1");
  Create(kRootFid, "b");
  EXPECT_EQ(Lines(), (Texts{"CREAT b"}));
  EXPECT_EQ(Deregister(user), Errc::kOk);
  EXPECT_EQ(Rows(), 0u);
  Create(kRootFid, "c");
  EXPECT_EQ(Rows(), 0u);
  EXPECT_EQ(Lines(), Texts{});
  EXPECT_EQ(Deregister(user), Errc::kNoEntry);
}

TEST_F(ChangelogTest, EveryKindOfChangeHasItsRecord) {
  Register();
  const Fid d = MakeDir(kRootFid, "d");
  const Fid a = Create(kRootFid, "a");
  EXPECT_EQ(LinkTo(a, d, "a2"), Errc::kOk);
  Create(kRootFid, "b");
  EXPECT_EQ(Rename(kRootFid, "b", d, "c"), Errc::kOk);
  EXPECT_EQ(Rename(d, "c", d, "a2"), Errc::kOk);
  EXPECT_EQ(Rename(d, "a2", kRootFid, "a"), Errc::kOk);
  const Fid file = Find(kRootFid, "a");
  EXPECT_TRUE(Chmod(file, 0600).ok());
  EXPECT_TRUE(Chown(file, 1, 2).ok());
  v1::SetAttrRequest truncate;
  SetFid(file, truncate.mutable_fid());
  truncate.set_valid(v1::SET_TRUNCATED);
  EXPECT_TRUE(Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, truncate).ok());
  v1::SetXattrRequest xattr;
  SetFid(file, xattr.mutable_fid());
  xattr.set_name("user.x");
  EXPECT_TRUE(Call<v1::SetXattrReply>(rpc::Opcode::kMdsSetXattr, xattr).ok());
  ASSERT_TRUE(Open(file, 5, O_WRONLY | O_APPEND).ok());
  EXPECT_TRUE(Close(file, 5).ok());
  ASSERT_TRUE(Open(file, 6, O_RDONLY).ok());
  EXPECT_TRUE(Close(file, 6).ok());
  EXPECT_EQ(Unlink(kRootFid, "a"), Errc::kOk);
  EXPECT_EQ(RemoveDir(kRootFid, "d"), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"MKDIR d", "CREAT a", "HLINK a2", "CREAT b", "RENME b>c",
                            "RENME c>a2", "RENME a2>a 0x1", "SATTR 0x14", "SATTR 0x64",
                            "TRUNC 0xe", "XATTR user.x", "CLOSE 0x402", "UNLNK a 0x1",
                            "RMDIR d 0x1"}));
  const auto records = Read();
  EXPECT_EQ(FidOf(records[4].fid()), Fid()) << "it replaced nothing";
  EXPECT_EQ(FidOf(records[5].fid()), a);
  EXPECT_EQ(FidOf(records[5].source()), file);
  EXPECT_EQ(FidOf(records[5].source_parent()), d);
  EXPECT_EQ(FidOf(records[9].parent()), kRootFid) << "where a truncated file is";
  EXPECT_EQ(records[0].nid(), "0@lo");
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i].index(), i + 1);
}

TEST_F(ChangelogTest, WhatFailsOrChangesNothingHasNoRecord) {
  Create(kRootFid, "a");
  Register();
  EXPECT_EQ(Unlink(kRootFid, "none"), Errc::kNoEntry);
  EXPECT_EQ(Unlink(kRootFid, "a", {.credential = kUserCredential}), Errc::kPerm);
  EXPECT_EQ(Lines(), Texts{});
}

TEST_F(ChangelogTest, AnExchangeIsTwoRenamesThatReplaceNothing) {
  Create(kRootFid, "a");
  Create(kRootFid, "b");
  Register();
  constexpr uint32_t kExchange = 2;
  EXPECT_EQ(Rename(kRootFid, "a", kRootFid, "b", kExchange), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"RENME a>b", "RENME b>a"}));
}

TEST_F(ChangelogTest, WhoFollowsOpeningsSeesThem) {
  const Fid a = Create(kRootFid, "a");
  Register("opens", "OPEN,CLOSE");
  ASSERT_TRUE(Open(a, 5, O_RDWR).ok());
  EXPECT_TRUE(Close(a, 5).ok());
  ASSERT_TRUE(Open(a, 6, O_RDONLY, {.credential = kUserCredential}).ok());
  EXPECT_TRUE(Close(a, 6).ok());
  Create(kRootFid, "b");
  EXPECT_EQ(Lines(), (Texts{"OPEN 0x3", "CLOSE 0x3", "OPEN 0x1", "CLOSE 0x1", "CLOSE 0xc1"}));
  const auto records = Read();
  EXPECT_EQ(records[2].open_mode(), 1u);
  EXPECT_EQ(records[2].uid(), 1000u);
}

TEST_F(ChangelogTest, RecordsGoWhenEveryUserHasClearedThem) {
  EXPECT_EQ(Register(), "cl1");
  Create(kRootFid, "a");
  Create(kRootFid, "b");
  EXPECT_EQ(Register("policy"), "cl2-policy");
  Create(kRootFid, "c");
  EXPECT_EQ(Lines(0, 0, "policy"), (Texts{"CREAT c"})) << "from its registration on";
  EXPECT_EQ(Clear("cl1", 2), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"CREAT c"}));
  EXPECT_EQ(Clear("cl1", 0), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"CREAT c"})) << "the other user has not seen it";
  EXPECT_EQ(Lines(0, 0, "cl1"), Texts{});
  EXPECT_EQ(Rows(), 1u);
  EXPECT_EQ(Clear("cl2-policy", 3), Errc::kOk);
  EXPECT_EQ(Rows(), 0u);
  EXPECT_EQ(Clear("cl2", 4), Errc::kInvalid);
  EXPECT_EQ(Clear("cl3", 1), Errc::kNoEntry);
  EXPECT_EQ(Clear("cl1", 0, kUserCredential), Errc::kPerm);
  Create(kRootFid, "e");
  EXPECT_EQ(Deregister("cl1"), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"CREAT e"}));
  EXPECT_EQ(Register("other"), "cl3-other") << "ids are never given twice";
}

TEST_F(ChangelogTest, PagesAndRanges) {
  Register();
  for (int i = 1; i <= 300; ++i) Create(kRootFid, fmt::format("{:0>200}", i));
  EXPECT_EQ(Read().size(), 300u);
  const auto some = Read(17, 19);
  ASSERT_EQ(some.size(), 3u);
  EXPECT_EQ(some[0].index(), 17u);
  EXPECT_EQ(some[2].index(), 19u);
  EXPECT_EQ(Read(301).size(), 0u);
  v1::ReadChangelogRequest request;
  request.set_bytes_max(1);
  const auto page = Call<v1::ReadChangelogReply>(rpc::Opcode::kMdsReadChangelog, request);
  EXPECT_FALSE(page.reply.end());
  EXPECT_LE(page.reply.ByteSizeLong(), 4096u);
}

TEST_F(ChangelogTest, AResendAddsNoRecord) {
  Register();
  const v1::CreateRequest request = CreateOf(kRootFid, "a", O_RDONLY | O_CREAT);
  const auto first = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  const auto again = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request,
                                           {.flags = rpc::kResend, .xid = first.xid});
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(Lines(), (Texts{"CREAT a"}));
}

TEST_F(ChangelogTest, OperationsThatRunSeveralTimesAddOneRecord) {
  Register();
  disk_.WouldBlockEvery(3);
  const Fid d = MakeDir(kRootFid, "d");
  Create(d, "a");
  EXPECT_EQ(Rename(d, "a", kRootFid, "b"), Errc::kOk);
  EXPECT_EQ(Unlink(kRootFid, "b"), Errc::kOk);
  disk_.WouldBlockEvery(0);
  EXPECT_EQ(Lines(), (Texts{"MKDIR d", "CREAT a", "RENME a>b", "UNLNK b 0x1"}));
}

TEST_F(ChangelogTest, AKilledServerLosesNoRecord) {
  const std::string user = Register();
  Create(kRootFid, "a");
  Kill();
  Start();
  Beat();
  Reconnect();
  Create(kRootFid, "b");
  EXPECT_EQ(Lines(), (Texts{"CREAT a", "CREAT b"}));
  EXPECT_EQ(Clear(user, 1), Errc::kOk);
  EXPECT_EQ(Lines(), (Texts{"CREAT b"}));
}

// With its change a record is lost, with its replay it comes again, and whoever has seen an index
// never sees another record under it.
TEST_F(ChangelogTest, AfterAPowerCutRecordsAreThoseOfWhatIsThere) {
  Register();
  Create(kRootFid, "a");
  Sync();
  const v1::CreateRequest request = CreateOf(kRootFid, "b", O_RDONLY | O_CREAT);
  const auto lost = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  ASSERT_TRUE(lost.ok());
  PowerCutAndStart();
  EXPECT_EQ(Find(kRootFid, "b"), Fid());
  EXPECT_EQ(Lines(), (Texts{"CREAT a"}));
  const auto replay = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request,
                                            {.flags = rpc::kReplay, .xid = lost.xid});
  ASSERT_TRUE(replay.ok()) << replay.message;
  EXPECT_EQ(Lines(), (Texts{"CREAT a", "CREAT b"}));
  PowerCutAndStart();
  EXPECT_EQ(Lines(), (Texts{"CREAT a", "CREAT b"})) << "what was shown survives";
  EXPECT_NE(Find(kRootFid, "b"), Fid());
}

TEST_F(ChangelogTest, WhatWasClearedSurvivesAPowerCut) {
  const std::string user = Register();
  Create(kRootFid, "a");
  Sync();
  EXPECT_EQ(Clear(user, 0), Errc::kOk);
  PowerCutAndStart();
  EXPECT_EQ(Lines(), Texts{});
}

TEST_F(ChangelogTest, WhatAReaderPassesByIsNotGivenAgain) {
  Register();
  Register("files", "CREAT");
  MakeDir(kRootFid, "d");
  EXPECT_EQ(Lines(0, 0, "files"), Texts{}) << "it is past the directory now";
  PowerCutAndStart();
  Create(kRootFid, "a");
  EXPECT_EQ(Lines(2), (Texts{"CREAT a"}));
}

TEST_F(ChangelogTest, IndexesGoOnAfterEverythingWasClearedAndRestarted) {
  const std::string user = Register();
  Create(kRootFid, "a");
  Create(kRootFid, "b");
  EXPECT_EQ(Clear(user, 0), Errc::kOk);
  Sync();
  PowerCutAndStart();
  Create(kRootFid, "c");
  const auto records = Read();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].index(), 3u);
}

TEST_F(ChangelogTest, ReadersSeeNothingBeyondARecordInFlight) {
  Register();
  Create(kRootFid, "a");
  Changelog& log = service_->changelog();
  const uint64_t in_flight = log.Begin();
  Create(kRootFid, "b");
  EXPECT_EQ(Lines(), (Texts{"CREAT a"}));
  EXPECT_EQ(Clear("cl1", in_flight + 1), Errc::kInvalid);
  log.Finish(in_flight);
  EXPECT_EQ(Lines(), (Texts{"CREAT a", "CREAT b"}));
}

TEST_F(ChangelogTest, AnOlderProgramRefusesTheStoreWhileThereIsAUser) {
  const auto incompat = [this] {
    const auto bytes = store_->Get(mdt::kConfig, mdt::kSuperblockKey, kv::Blocking::kMayBlock);
    return mdt::DecodeSuperblock(**bytes).value().incompat;
  };
  EXPECT_EQ(incompat(), 0u);
  const std::string user = Register();
  EXPECT_EQ(incompat(), mdt::kChangelogFeature);
  Connect();  // takes a sequence: the superblock is written
  EXPECT_EQ(incompat(), mdt::kChangelogFeature);
  EXPECT_EQ(Deregister(user), Errc::kOk);
  EXPECT_EQ(incompat(), 0u);
}

TEST_F(ChangelogTest, AUserThatHasGoneAwayIsGivenUp) {
  Register("gone");
  Register("there");
  Create(kRootFid, "a");
  Changelog& log = service_->changelog();
  log.limits().interval_seconds = 10;
  log.limits().idle_seconds_max = 100;
  RunFor(std::chrono::seconds(90));
  EXPECT_EQ(Clear("there", 0), Errc::kOk);
  EXPECT_EQ(Rows(), 1u);
  RunFor(std::chrono::seconds(30));
  EXPECT_EQ(Clear("gone", 0), Errc::kNoEntry);
  EXPECT_EQ(Clear("there", 0), Errc::kOk);
  EXPECT_EQ(Rows(), 0u);
  RunFor(std::chrono::seconds(300));
  EXPECT_EQ(Clear("there", 0), Errc::kOk) << "it has nothing to clear, so it keeps nothing";
}

TEST_F(ChangelogTest, AUserThatIsFarBehindIsGivenUp) {
  Register();
  for (int i = 0; i < 5; ++i) Create(kRootFid, std::to_string(i));
  Changelog& log = service_->changelog();
  EXPECT_FALSE(log.FindOverdue(clock_.Wall().count(), false).has_value());
  EXPECT_FALSE(log.FindOverdue(clock_.Wall().count(), true).has_value()) << "not worth it";
  log.limits().idle_indexes_max = 4;
  const auto overdue = log.FindOverdue(clock_.Wall().count(), false);
  ASSERT_TRUE(overdue.has_value());
  EXPECT_EQ(overdue->user, "cl1");
  log.limits().collect = false;
  EXPECT_FALSE(log.FindOverdue(clock_.Wall().count(), false).has_value());
}

TEST_F(ChangelogTest, UsersAreShownAsLustreShowsThem) {
  Register();
  Register("policy", "CREAT,UNLNK");
  Create(kRootFid, "a");
  EXPECT_EQ(Clear("cl1", 1), Errc::kOk);
  EXPECT_EQ(service_->changelog().UsersText(clock_.Wall().count()),
            "current_index: 1\n"
            "ID                            index (idle) mask\n"
            "cl1                               1 (0)\n"
            "cl2-policy                        0 (0) mask=CREAT,UNLNK\n");
  EXPECT_EQ(service_->changelog().MaskText(), "MARK ");
}

TEST_F(ChangelogTest, NamesAndMasksAreChecked) {
  for (const char* name : {"cl7", "seventeen_letters", "a b", "a/b"}) {
    v1::ChangelogUserRequest request;
    request.set_name(name);
    const auto reply = Run(service_->ChangeChangelogUser(request));
    ASSERT_FALSE(reply.has_value()) << name;
    EXPECT_EQ(reply.error().code(), Errc::kInvalid) << name;
  }
  Register("twice");
  v1::ChangelogUserRequest request;
  request.set_name("twice");
  EXPECT_EQ(Run(service_->ChangeChangelogUser(request)).error().code(), Errc::kExists);
  request.set_name("");
  request.set_mask("CREATED");
  EXPECT_EQ(Run(service_->ChangeChangelogUser(request)).error().code(), Errc::kInvalid);
  request.set_device("sheen-MDT0001");
  EXPECT_EQ(Run(service_->ChangeChangelogUser(request)).error().code(), Errc::kNotThisServer);
}

}  // namespace
}  // namespace sheen::mds
