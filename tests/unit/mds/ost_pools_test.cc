#include "mds/ost_pools.h"

#include <fstream>
#include <string>
#include <vector>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

using Kind = PoolChange::Kind;

PoolChange Change(Kind kind, const std::string& pool, std::vector<uint32_t> osts = {}) {
  return {.kind = kind, .fsname = "sheen", .pool = pool, .osts = std::move(osts)};
}

TEST(OstPools, MembersComeAndGoOneByOne) {
  OstPools pools;
  const std::set<uint32_t> registered = {0, 1, 2};
  ASSERT_TRUE(ChangePools(Change(Kind::kNew, "flash"), registered, &pools).has_value());
  auto refused = ChangePools(Change(Kind::kAdd, "flash", {0, 7, 2, 0}), registered, &pools);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(pools["flash"], (std::set<uint32_t>{0, 2}));
  ASSERT_EQ(refused->size(), 2u);
  EXPECT_EQ((*refused)[0].ost, 7u);
  EXPECT_EQ((*refused)[0].error.message(),
            "OST sheen-OST0007_UUID is not part of the 'sheen' filesystem");
  EXPECT_EQ((*refused)[1].error.code(), Errc::kExists);
  EXPECT_EQ(ChangePools(Change(Kind::kDestroy, "flash"), registered, &pools).error().code(),
            Errc::kNotEmpty);
  refused = ChangePools(Change(Kind::kRemove, "flash", {1, 2, 0}), registered, &pools);
  ASSERT_EQ(refused->size(), 1u);
  EXPECT_EQ((*refused)[0].error.code(), Errc::kNoEntry);
  EXPECT_TRUE(ChangePools(Change(Kind::kDestroy, "flash"), registered, &pools).has_value());
  EXPECT_TRUE(pools.empty());
  EXPECT_EQ(ChangePools(Change(Kind::kAdd, "flash", {0}), registered, &pools).error().code(),
            Errc::kNoEntry);
}

TEST(OstPools, NamesAreThoseThatALayoutCanHold) {
  OstPools pools;
  const auto make = [&pools](const std::string& name) {
    const auto made = ChangePools(Change(Kind::kNew, name), {}, &pools);
    return made ? Errc::kOk : made.error().code();
  };
  EXPECT_EQ(make("Flash_2-x"), Errc::kOk);
  EXPECT_EQ(make("Flash_2-x"), Errc::kExists);
  for (const char* name : {"", "none", "inherit", "ignore", "0123456789abcdef", "a.b", "a b"}) {
    EXPECT_EQ(make(name), Errc::kInvalid) << name;
  }
  for (size_t i = 1; i < kPoolsMax; ++i) ASSERT_EQ(make("p" + std::to_string(i)), Errc::kOk);
  EXPECT_EQ(make("one_more"), Errc::kNoSpace);
}

// The cluster map has them all, and must fit an answer.
TEST(OstPools, AllTogetherHaveSoManyMembersAndNoMore) {
  constexpr uint32_t kOsts = 2000;
  std::set<uint32_t> registered;
  for (uint32_t ost = 0; ost < kOsts; ++ost) registered.insert(ost);
  const std::vector<uint32_t> all(registered.begin(), registered.end());
  OstPools pools;
  const auto add = [&](const std::string& name, std::vector<uint32_t> osts) {
    const PoolChange change = Change(Kind::kAdd, name, std::move(osts));
    return ChangePools(change, registered, &pools).value_or(std::vector<PoolRefusal>());
  };
  for (size_t i = 0; i <= kPoolMembersMax / kOsts; ++i) {
    ASSERT_TRUE(ChangePools(Change(Kind::kNew, "p" + std::to_string(i)), registered, &pools));
    if (i == kPoolMembersMax / kOsts) break;
    EXPECT_TRUE(add("p" + std::to_string(i), all).empty()) << i;
  }
  const std::string last = "p" + std::to_string(kPoolMembersMax / kOsts);
  ASSERT_TRUE(ChangePools(Change(Kind::kRemove, "p0", {7, 8}), registered, &pools));
  const auto refused = add(last, {1, 2, 3});
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].error.code(), Errc::kNoSpace);
  EXPECT_NE(refused[0].error.message().find("lctl pool_remove"), std::string::npos);
  EXPECT_EQ(pools[last], (std::set<uint32_t>{1, 2}));
  ASSERT_EQ(add(last, {1}).size(), 1u);
  EXPECT_EQ(add(last, {1})[0].error.code(), Errc::kExists) << "not for want of room";
  v1::ClusterMap map;
  for (const auto& [name, osts] : pools) {
    v1::OstPool* const pool = map.add_pools();
    pool->set_name(name);
    pool->mutable_osts()->Add(osts.begin(), osts.end());
  }
  EXPECT_LT(map.ByteSizeLong(), rpc::kBodyBytesMax / 8);
}

// tests/golden/mdt/ost_pools.hex, shown in docs/formats/mdt.md.
TEST(OstPoolsRecord, BytesAreThoseOfTheFormatDocumentAndDamageIsRefused) {
  const OstPools pools = {{"empty", {}}, {"flash", {0, 10}}};
  const std::string bytes = EncodePools(pools);
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("/unit/")) + "/golden/mdt/ost_pools.hex");
  ASSERT_TRUE(file.good());
  std::string expected;
  for (std::string line; std::getline(file, line);) expected += line.substr(0, line.find(' '));
  std::string found;
  for (const char byte : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<uint8_t>(byte));
    found += two;
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(*DecodePools(bytes), pools);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(DecodePools(bytes.substr(0, cut)).has_value()) << cut;
  }
  EXPECT_FALSE(DecodePools(bytes + "x").has_value());
  EXPECT_EQ(DecodePools("\x02").error().code(), Errc::kBadVersion);
  EXPECT_EQ(DecodePools('\0' + bytes.substr(1)).error().code(), Errc::kCorrupt) << "no version";
}

class OstPoolsTest : public MdsFixture {
 protected:
  void SetUp() override {
    MdsFixture::SetUp();
    Ask(v1::POOL_NEW, "flash");
    Ask(v1::POOL_ADD, "flash", {1, 3});
  }
  v1::PoolReply Ask(v1::PoolAction action, const std::string& pool,
                    std::vector<uint32_t> osts = {}) {
    v1::PoolRequest request;
    request.set_fsname("sheen");
    request.set_action(action);
    request.set_pool(pool);
    request.mutable_osts()->Add(osts.begin(), osts.end());
    const auto reply = service_->HandlePool(request);
    EXPECT_TRUE(reply.has_value()) << reply.error().ToString();
    return reply.value_or(v1::PoolReply());
  }
  static layout::Layout Striped(const std::string& pool, uint32_t count = 2) {
    layout::Layout layout = layout::PlainTemplate(count, 1 << 20);
    layout.components[0].pool = pool;
    return layout;
  }
  // [0, 1 MiB) of one stripe, then `pool`'s.
  static layout::Layout TwoComponents(const std::string& pool) {
    layout::Layout layout = layout::PlainTemplate(1, 1 << 20);
    layout.composite = true;
    layout.components[0].end = 1 << 20;
    layout.components.push_back(layout.components[0]);
    layout.components[1].id = 2;
    layout.components[1].start = 1 << 20;
    layout.components[1].end = layout::kEof;
    layout.components[1].stripe_count = layout::kAllOsts;
    layout.components[1].pool = pool;
    return layout;
  }
  Answered<v1::SetLayoutReply> Set(const Fid& fid, const layout::Layout& layout) {
    v1::SetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_layout_template(layout::Encode(layout));
    return Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request);
  }
  Answered<v1::CreateReply> Make(const Fid& parent, const layout::Layout* layout,
                                 uint32_t flags = O_RDWR | O_CREAT) {
    v1::CreateRequest request = CreateOf(parent, "f" + std::to_string(++number_), flags);
    if (layout != nullptr) request.set_layout_template(layout::Encode(*layout));
    last_ = FidOf(request.fid());
    return Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  }
  Answered<v1::InstantiateReply> Grow(const Fid& fid, uint64_t offset) {
    v1::InstantiateRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_offset(offset);
    request.set_length(1);
    return Call<v1::InstantiateReply>(rpc::Opcode::kMdsInstantiate, request);
  }
  layout::Layout Of(const Fid& fid, bool effective = false) {
    v1::GetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_effective(effective);
    const auto got = Call<v1::GetLayoutReply>(rpc::Opcode::kMdsGetLayout, request);
    return layout::Decode(got.reply.layout()).value_or(layout::Layout());
  }
  // Of the file made last.
  layout::Component First() { return Of(last_).components.at(0); }
  static std::set<uint32_t> Osts(const layout::Component& component) {
    return {component.osts.begin(), component.osts.end()};
  }

  const std::set<uint32_t> members_ = {1, 3};
  int number_ = 0;
  Fid last_;
};

TEST_F(OstPoolsTest, ObjectsAreInThePool) {
  const layout::Layout one = Striped("flash", 1);
  std::set<uint32_t> used;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Make(kRootFid, &one).ok());
    used.merge(Osts(First()));
  }
  EXPECT_EQ(used, members_) << "in turn";
  const layout::Layout all = Striped("flash", layout::kAllOsts);
  ASSERT_TRUE(Make(kRootFid, &all).ok());
  EXPECT_EQ(Osts(First()), members_);
  EXPECT_EQ(First().pool, "flash");
  const layout::Layout many = Striped("flash", 4);
  ASSERT_TRUE(Make(kRootFid, &many).ok());
  EXPECT_EQ(First().osts.size(), 2u) << "no more than it has";
}

TEST_F(OstPoolsTest, ALaterComponentTakesThePoolAsItIsThen) {
  const layout::Layout layout = TwoComponents("flash");
  ASSERT_TRUE(Make(kRootFid, &layout).ok());
  Ask(v1::POOL_REMOVE, "flash", {3});
  Ask(v1::POOL_ADD, "flash", {0});
  ASSERT_TRUE(Grow(last_, 5 << 20).ok());
  EXPECT_EQ(Osts(Of(last_).components[1]), (std::set<uint32_t>{0, 1}));
}

TEST_F(OstPoolsTest, AnEmptyOrDestroyedPoolIsNoSpaceForItsFiles) {
  const layout::Layout layout = TwoComponents("flash");
  ASSERT_TRUE(Make(kRootFid, &layout).ok());
  Ask(v1::POOL_REMOVE, "flash", {1, 3});
  auto grown = Grow(last_, 5 << 20);
  EXPECT_EQ(grown.status, Errc::kNoSpace);
  EXPECT_EQ(grown.message, "pool 'flash' has no OSTs");
  Ask(v1::POOL_DESTROY, "flash");
  grown = Grow(last_, 5 << 20);
  EXPECT_EQ(grown.status, Errc::kNoSpace);
  EXPECT_EQ(grown.message, "pool 'flash' does not exist");
}

TEST_F(OstPoolsTest, WhatCannotBeIsRefusedWhenItIsSet) {
  const auto refusal = [this](const layout::Layout& layout) {
    const auto made = Make(kRootFid, &layout);
    EXPECT_EQ(made.status, Errc::kInvalid);
    EXPECT_EQ(Set(kRootFid, layout).status, Errc::kInvalid) << "for a directory too";
    return made.message;
  };
  EXPECT_EQ(refusal(Striped("tape")), "pool 'tape' does not exist");
  Ask(v1::POOL_NEW, "empty");
  EXPECT_EQ(refusal(Striped("empty")), "pool 'empty' has no OSTs");
  layout::Layout placed = Striped("flash");
  placed.components[0].first_ost = 2;
  EXPECT_EQ(refusal(placed), "OST 2 is not in pool 'flash'");
  placed.components[0].first_ost = layout::kAnyOst;
  placed.components[0].wanted_osts = {3, 0};
  EXPECT_EQ(refusal(placed), "OST 0 is not in pool 'flash'");
  placed.components[0].wanted_osts = {3, 1};
  ASSERT_TRUE(Make(kRootFid, &placed).ok());
  EXPECT_EQ(First().osts, (std::vector<uint32_t>{3, 1}));
}

TEST_F(OstPoolsTest, OstsThatWereListedStayWhenTheyLeaveThePool) {
  layout::Layout layout = TwoComponents("flash");
  layout.components[1].stripe_count = 1;
  layout.components[1].wanted_osts = {3};
  ASSERT_TRUE(Make(kRootFid, &layout).ok());
  const Fid listed = last_;
  layout.components[1].wanted_osts.clear();
  layout.components[1].first_ost = 3;
  ASSERT_TRUE(Make(kRootFid, &layout).ok());
  Ask(v1::POOL_REMOVE, "flash", {3});
  ASSERT_TRUE(Grow(listed, 5 << 20).ok());
  EXPECT_EQ(Osts(Of(listed).components[1]), (std::set<uint32_t>{3}));
  ASSERT_TRUE(Grow(last_, 5 << 20).ok()) << "where to begin is a wish";
  EXPECT_EQ(Osts(Of(last_).components[1]), (std::set<uint32_t>{1}));
}

TEST_F(OstPoolsTest, DirectoriesHandTheirPoolOn) {
  const Fid d = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Set(d, Striped("flash")).ok());
  const Fid sub = MakeDir(d, "sub");
  ASSERT_TRUE(Make(sub, nullptr).ok());
  EXPECT_EQ(First().pool, "flash");
  EXPECT_EQ(Osts(First()), members_);
  const layout::Layout own = layout::PlainTemplate(1, 2 << 20);
  ASSERT_TRUE(Make(d, &own).ok());
  EXPECT_EQ(First().pool, "flash") << "a layout without a pool takes the directory's";
  EXPECT_EQ(First().stripe_bytes, 2u << 20);
  layout::Layout placed = layout::PlainTemplate(1, 1 << 20, 2);
  ASSERT_TRUE(Make(d, &placed).ok());
  EXPECT_EQ(First().osts, (std::vector<uint32_t>{2})) << "whoever names an OST means it";
  const layout::Layout none = Striped("ignore", layout::kAllOsts);
  ASSERT_TRUE(Make(d, &none).ok());
  EXPECT_EQ(First().pool, "") << "'ignore' is no pool";
  EXPECT_EQ(First().osts.size(), 4u);
  ASSERT_TRUE(Make(d, nullptr, O_CREAT | O_WRONLY | O_APPEND).ok());
  EXPECT_EQ(First().pool, "flash") << "one stripe, but there";
}

TEST_F(OstPoolsTest, ADirectoryWithoutAPoolHasTheRoots) {
  ASSERT_TRUE(Set(kRootFid, Striped("flash")).ok());
  const Fid d = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Set(d, layout::PlainTemplate(layout::kAllOsts, 1 << 20)).ok());
  ASSERT_TRUE(Make(d, nullptr).ok());
  EXPECT_EQ(Osts(First()), members_);
  EXPECT_EQ(Of(d).components[0].pool, "") << "as it was set";
  EXPECT_EQ(Of(d, true).components[0].pool, "flash") << "what is made in it gets";
  ASSERT_TRUE(Set(d, Striped("ignore", layout::kAllOsts)).ok());
  ASSERT_TRUE(Make(d, nullptr).ok());
  EXPECT_EQ(First().osts.size(), 4u);
  EXPECT_EQ(First().pool, "");
  Ask(v1::POOL_NEW, "tape");
  Ask(v1::POOL_ADD, "tape", {0});
  ASSERT_TRUE(Set(d, Striped("tape")).ok());
  ASSERT_TRUE(Make(d, nullptr).ok());
  EXPECT_EQ(Osts(First()), (std::set<uint32_t>{0}));
}

TEST_F(OstPoolsTest, AnOstThatIsAwayIsReplacedByAMemberNotByAnother) {
  const layout::Layout one = Striped("flash", 1);
  v1::HeartbeatRequest leaving;
  leaving.set_fsname("sheen");
  leaving.set_server_name("oss0");
  leaving.set_leaving(true);
  leaving.add_targets()->set_index(0);
  leaving.add_targets()->set_index(1);
  ASSERT_TRUE(service_->Heartbeat(leaving).has_value());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Make(kRootFid, &one).ok());
    EXPECT_EQ(Osts(First()), (std::set<uint32_t>{3}));
  }
}

TEST_F(OstPoolsTest, PoolsAreInTheMapAndSurviveAPowerCut) {
  const uint64_t version = service_->GetClusterMap().version();
  map_versions_.clear();
  Ask(v1::POOL_NEW, "tape");
  EXPECT_EQ(Ask(v1::POOL_ADD, "flash", {1}).refused_size(), 1);
  EXPECT_EQ(map_versions_, (std::vector<uint64_t>{version + 1})) << "the second changed nothing";
  PowerCutAndStart();
  const v1::ClusterMap map = service_->GetClusterMap();
  EXPECT_EQ(map.version(), version + 1);
  ASSERT_EQ(map.pools_size(), 2);
  EXPECT_EQ(map.pools(0).name(), "flash");
  EXPECT_EQ(map.pools(0).osts_size(), 2);
  EXPECT_EQ(Ask(v1::POOL_LIST, "").pools_size(), 2);
  EXPECT_EQ(Ask(v1::POOL_LIST, "tape").pools_size(), 1);
  v1::PoolRequest other;
  other.set_fsname("other");
  EXPECT_EQ(service_->HandlePool(other).error().code(), Errc::kNotThisServer);
}

// lfs migrate without an option.
TEST_F(OstPoolsTest, ACopyWithTheFilesOwnLayoutTakesNoPoolAndNeedsNone) {
  const auto copy = [this](const Fid& file) {
    EXPECT_TRUE(Open(file, next_handle_++, O_RDWR).ok());
    v1::CreateRequest request = CreateOf(kRootFid, "", O_RDWR | O_CREAT);
    SetFid(file, request.mutable_copy_of());
    request.set_own_layout(true);
    request.set_layout_template(layout::Encode(layout::TemplateOf(Of(file))));
    const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
    EXPECT_TRUE(made.ok()) << made.message;
    return Of(FidOf(request.fid()));
  };
  const Fid d = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Set(d, Striped("flash")).ok());
  const layout::Layout none = Striped("ignore", layout::kAllOsts);
  ASSERT_TRUE(Make(d, &none).ok());
  layout::Layout copied = copy(last_);
  EXPECT_EQ(copied.components.at(0).pool, "") << "it was made outside the directory's pool";
  EXPECT_EQ(copied.components[0].osts.size(), 4u);
  const layout::Layout two = TwoComponents("flash");
  ASSERT_TRUE(Make(kRootFid, &two).ok());
  const Fid of_pool = last_;
  copied = copy(of_pool);
  EXPECT_EQ(copied.components.at(1).pool, "flash");
  // What the pool was emptied for.
  ASSERT_TRUE(Make(d, nullptr).ok());
  Ask(v1::POOL_REMOVE, "flash", {1, 3});
  copied = copy(last_);
  EXPECT_EQ(copied.components.at(0).pool, "");
  EXPECT_EQ(copied.components[0].osts.size(), 2u);
  Ask(v1::POOL_DESTROY, "flash");
  EXPECT_EQ(copy(of_pool).components.at(1).pool, "");
}

TEST_F(OstPoolsTest, AnAddedComponentTakesThePoolOfItsOwnPlace) {
  Ask(v1::POOL_NEW, "disk");
  Ask(v1::POOL_ADD, "disk", {0, 2});
  const Fid d = MakeDir(kRootFid, "d");
  layout::Layout both = TwoComponents("disk");
  both.components[0].pool = "flash";
  ASSERT_TRUE(Set(d, both).ok());
  layout::Layout head = both;
  head.components.pop_back();
  ASSERT_TRUE(Make(d, &head).ok());
  v1::SetLayoutRequest request;
  SetFid(last_, request.mutable_fid());
  layout::Layout rest = layout::PlainTemplate(1, 1 << 20);
  rest.composite = true;
  request.set_layout_template(layout::Encode(rest));
  request.set_edit(v1::EDIT_ADD);
  const auto added = Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request);
  ASSERT_TRUE(added.ok()) << added.message;
  const layout::Layout now = Of(last_);
  EXPECT_EQ(now.components.at(0).pool, "flash");
  EXPECT_EQ(now.components.at(1).start, 1u << 20);
  EXPECT_EQ(now.components[1].pool, "disk");
}

TEST_F(OstPoolsTest, AReplayedTemplateNeedsNoPoolAnyMore) {
  const layout::Layout layout = Striped("flash");
  v1::SetLayoutRequest request;
  const Fid d = MakeDir(kRootFid, "d");
  SetFid(d, request.mutable_fid());
  request.set_layout_template(layout::Encode(layout));
  Ask(v1::POOL_REMOVE, "flash", {1, 3});
  Ask(v1::POOL_DESTROY, "flash");
  EXPECT_EQ(Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request).status, Errc::kInvalid);
  EXPECT_TRUE(Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request,
                                       {.flags = rpc::kReplay})
                  .ok());
}

}  // namespace
}  // namespace sheen::mds
