#include <algorithm>
#include <set>
#include <string>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class LayoutTest : public MdsFixture {
 protected:
  Answered<v1::SetLayoutReply> Set(const Fid& fid, const std::string& bytes,
                                   CallOptions options = {}) {
    v1::SetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_layout_template(bytes);
    return Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request, options);
  }
  Answered<v1::GetLayoutReply> Get(const Fid& fid, bool effective = false) {
    v1::GetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_effective(effective);
    return Call<v1::GetLayoutReply>(rpc::Opcode::kMdsGetLayout, request);
  }
  Answered<v1::InstantiateReply> Grow(const Fid& fid, uint64_t offset, uint64_t length,
                                      CallOptions options = {}) {
    v1::InstantiateRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_offset(offset);
    request.set_length(length);
    return Call<v1::InstantiateReply>(rpc::Opcode::kMdsInstantiate, request, options);
  }
  layout::Layout Of(const Fid& fid) {
    const auto layout = layout::Decode(Get(fid).reply.layout());
    EXPECT_TRUE(layout.has_value());
    return layout.value_or(layout::Layout());
  }
  static std::string Plain(uint32_t count) {
    return layout::Encode(layout::PlainTemplate(count, 1 << 20));
  }
  int number_ = 0;  // of files with a name of their own
};

TEST_F(LayoutTest, InstantiateGivesEachComponentObjectsOfItsOwn) {
  const Fid file = Create(kRootFid, "f");
  const layout::Layout before = Of(file);
  const auto grown = Grow(file, 0, 20ULL << 30);
  ASSERT_TRUE(grown.ok()) << grown.message;
  const layout::Layout after = Of(file);
  EXPECT_EQ(layout::Encode(after), grown.reply.layout());
  EXPECT_EQ(after.generation, before.generation + 1);
  EXPECT_EQ(after.components[0].birth, before.components[0].birth);
  EXPECT_FALSE(after.components[3].instantiated()) << "beyond 100 GiB";
  std::set<layout::ObjectId> objects;
  size_t count = 0;
  for (const layout::Component& component : after.components) {
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe, ++count) {
      objects.insert(layout::ObjectOf(component, stripe));
    }
  }
  EXPECT_EQ(objects.size(), count) << "no two stripes share an object";
  EXPECT_EQ(after.components[1].osts.size(), 4u) << "eight were wanted, four OSTs exist";
  EXPECT_EQ(Grow(file, 0, 1).reply.layout(), grown.reply.layout()) << "nothing left to do";
  EXPECT_EQ(Of(file).generation, after.generation);
  EXPECT_EQ(Grow(file, UINT64_MAX, 1).status, Errc::kFileTooBig);
}

TEST_F(LayoutTest, InstantiateNeedsWriteAccessOrAWritingHandle) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_EQ(Grow(file, 1ULL << 30, 1, {.credential = kUserCredential}).status, Errc::kAccess);
  ASSERT_TRUE(Open(file, 5, O_WRONLY).ok());
  EXPECT_TRUE(Grow(file, 1ULL << 30, 1, {.credential = kUserCredential}).ok());
  EXPECT_EQ(Grow(MakeDir(kRootFid, "d"), 0, 1).status, Errc::kInvalid);
}

TEST_F(LayoutTest, ADefaultReachesWhatIsMadeBelow) {
  const Fid d = MakeDir(kRootFid, "d");
  EXPECT_EQ(Get(d).status, Errc::kNoData);
  EXPECT_TRUE(Get(d, true).reply.inherited());
  EXPECT_EQ(Get(d, true).reply.layout(), layout::Encode(layout::DefaultTemplate()));
  ASSERT_TRUE(Set(d, Plain(3)).ok());
  EXPECT_EQ(Of(Create(d, "f")).components[0].osts.size(), 3u);
  const Fid sub = MakeDir(d, "sub");
  EXPECT_EQ(Of(Create(sub, "f")).components[0].osts.size(), 3u) << "handed to directories";
  ASSERT_TRUE(Set(kRootFid, Plain(2)).ok());
  EXPECT_EQ(Of(Create(MakeDir(kRootFid, "e"), "f")).components[0].osts.size(), 2u);
  ASSERT_TRUE(Set(d, "").ok());
  EXPECT_EQ(Of(Create(d, "g")).components[0].osts.size(), 2u) << "removed: the root's";
}

TEST_F(LayoutTest, AFileTakesALayoutOnlyBeforeItHasObjects) {
  v1::CreateRequest request = CreateOf(kRootFid, "f");
  request.set_delay_layout(true);
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  EXPECT_FALSE(made.reply.attr().has_layout());
  const Fid file = FidOf(made.reply.attr().fid());
  EXPECT_EQ(Get(file).status, Errc::kNoData);
  ASSERT_TRUE(Set(file, Plain(2)).ok());
  EXPECT_EQ(Of(file).components[0].osts.size(), 2u);
  const auto again = Set(file, Plain(2));
  EXPECT_EQ(again.status, Errc::kExists);
  EXPECT_EQ(again.message, "stripe already set");
}

TEST_F(LayoutTest, ATemplateMayComeWithTheCreate) {
  v1::CreateRequest request = CreateOf(kRootFid, "f");
  request.set_layout_template(Plain(4));
  ASSERT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).ok());
  EXPECT_EQ(Of(FidOf(request.fid())).components[0].osts.size(), 4u);
  request = CreateOf(kRootFid, "log", O_CREAT | O_WRONLY | O_APPEND);
  ASSERT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).ok());
  EXPECT_EQ(Of(FidOf(request.fid())).components.size(), 1u) << "appended: one stripe to the end";
  request = CreateOf(kRootFid, "bad");
  request.set_layout_template("garbage");
  EXPECT_FALSE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).ok());
  EXPECT_EQ(Find(kRootFid, "bad"), Fid());
}

TEST_F(LayoutTest, ANodeWithoutLayoutGetsItsDirectorysAtTheFirstWrite) {
  const Fid d = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Set(d, Plain(3)).ok());
  v1::MakeNodeRequest request;
  SetFid(d, request.mutable_parent());
  SetFid(NewFid(), request.mutable_fid());
  request.set_name("f");
  request.set_mode(S_IFREG | 0644);
  ASSERT_TRUE(Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request).ok());
  ASSERT_TRUE(Grow(FidOf(request.fid()), 0, 1).ok());
  EXPECT_EQ(Of(FidOf(request.fid())).components[0].osts.size(), 3u);
}

TEST_F(LayoutTest, OnlyOwnersSetDefaults) {
  const Fid d = MakeDir(kRootFid, "d", 0777);
  EXPECT_EQ(Set(d, Plain(1), {.credential = kUserCredential}).status, Errc::kPerm);
}

TEST_F(LayoutTest, AFileIsMadeThoughAllOstsAreAway) {
  async::RunFor(&shard_, std::chrono::seconds(10));  // no heartbeats
  const v1::CreateRequest request = CreateOf(kRootFid, "f");
  ASSERT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).ok());
  EXPECT_EQ(Of(FidOf(request.fid())).components[0].osts.size(), 1u);
}

TEST_F(LayoutTest, WhoSaidGoodbyeOrIsSilentGetsNoNewFiles) {
  const auto servers = [this] {
    std::set<std::string> out;
    for (int i = 0; i < 8; ++i) {
      const v1::CreateRequest request = CreateOf(kRootFid, "f" + std::to_string(number_++));
      EXPECT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).ok());
      for (const uint32_t ost : Of(FidOf(request.fid())).components[0].osts) {
        out.insert(ost < 2 ? "oss0" : "oss1");
      }
    }
    return out;
  };
  const auto beat = [this](const std::string& server, uint32_t first, bool leaving) {
    v1::HeartbeatRequest request;
    request.set_fsname("sheen");
    request.set_server_name(server);
    request.set_leaving(leaving);
    for (uint32_t index = first; index < first + 2; ++index) {
      v1::TargetSpace* space = request.add_targets();
      space->set_index(index);
      space->set_bytes_total(100ULL << 30);
      space->set_bytes_available(50ULL << 30);
    }
    ASSERT_TRUE(service_->Heartbeat(request)->known());
  };
  beat("oss0", 0, false);
  beat("oss1", 2, false);
  EXPECT_EQ(servers(), (std::set<std::string>{"oss0", "oss1"}));
  beat("oss0", 0, true);
  EXPECT_EQ(servers(), (std::set<std::string>{"oss1"}));
  beat("oss0", 0, false);
  async::RunFor(&shard_, std::chrono::seconds(3));
  beat("oss0", 0, false);
  EXPECT_EQ(servers(), (std::set<std::string>{"oss0"})) << "oss1 is silent for 3 s";
  async::RunFor(&shard_, std::chrono::seconds(3));
  beat("oss0", 0, true);
  EXPECT_EQ(servers().size(), 2u) << "none is up";
}

TEST_F(LayoutTest, AfterARestartCreatesWaitForTheFirstHeartbeats) {
  const v1::MdsSyncRequest sync;
  ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, sync).ok());
  Kill();
  Start();
  Reconnect();
  shard_.AddTimer(shard_.Now() + std::chrono::seconds(2), [this] { Beat(); });
  const Nanos before = shard_.Now();
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "f"));
  EXPECT_TRUE(made.ok()) << made.message;
  EXPECT_GE(shard_.Now() - before, std::chrono::seconds(2));
}

TEST_F(LayoutTest, AnInstantiateOfOthersIsDurableBeforeItIsShown) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_GT(disk_.unsynced_batches(), 0u);
  ASSERT_TRUE(Grow(file, 0, 1).ok()) << "made by the create, not synced yet";
  EXPECT_EQ(disk_.unsynced_batches(), 0u);
}

// Every create looks at what the root says; not at its inode, which others change.
TEST_F(LayoutTest, ACreateDoesNotWaitForAChangeOfTheRoot) {
  const Fid d = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Set(d, Plain(2)).ok());
  const auto other = Connect();
  const auto make = [&](const char* name) {
    v1::CreateRequest request = CreateOf(d, name);
    const auto made = CallAs<v1::CreateReply>(other, rpc::Opcode::kMdsCreate, request);
    EXPECT_TRUE(made.ok()) << made.message;
    return FidOf(request.fid());
  };
  static_cast<void>(make("first"));
  RunFor(std::chrono::milliseconds(2500));  // between two of the commits
  ASSERT_EQ(disk_.unsynced_batches(), 0u);
  ASSERT_TRUE(Chmod(kRootFid, 0711).ok());
  static_cast<void>(make("second"));
  EXPECT_EQ(disk_.unsynced_batches(), 2u) << "nothing was synced for it";
}

TEST_F(LayoutTest, AChangeOfTheRootsTemplateIsThereForTheNextCreate) {
  const Fid d = MakeDir(kRootFid, "d");
  for (const uint32_t count : {2u, 3u, 1u}) {
    ASSERT_TRUE(Set(kRootFid, Plain(count)).ok());
    for (int i = 0; i < 2; ++i) {
      const Fid file = Create(d, "f" + std::to_string(++number_));
      EXPECT_EQ(Of(file).components.at(0).osts.size(), count);
    }
  }
  ASSERT_TRUE(Set(kRootFid, "").ok());
  EXPECT_EQ(Of(Create(d, "last")).components.size(), layout::DefaultTemplate().components.size());
  PowerCutAndStart();
  EXPECT_EQ(Of(Create(d, "later")).components.size(), layout::DefaultTemplate().components.size());
}

}  // namespace
}  // namespace sheen::mds
