#include "mds/cluster_map.h"

#include <fstream>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class ClusterMapTest : public MdsFixture {
 protected:
  static v1::RegisterServerRequest Server(const std::string& name, uint32_t index, char uuid) {
    v1::RegisterServerRequest request;
    request.set_fsname("sheen");
    request.mutable_server()->set_name(name);
    request.mutable_server()->add_hosts("10.1.0.1");
    request.mutable_server()->set_data_port(1);
    request.mutable_server()->set_control_port(2);
    v1::TargetEntry* target = request.add_targets();
    target->set_index(index);
    target->set_uuid(std::string(16, uuid));
    return request;
  }
  Errc Error(const v1::RegisterServerRequest& request) {
    const auto reply = service_->RegisterServer(request);
    return reply ? Errc::kOk : reply.error().code();
  }
};

TEST_F(ClusterMapTest, NamesAreGivenInOrderAndKept) {
  const auto third = service_->RegisterServer(Server("", 9, 'z'));
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->server_name(), "oss2");
  EXPECT_EQ(third->mgs_boot(), 1u);
  EXPECT_EQ(service_->RegisterServer(Server("", 9, 'z'))->server_name(), "oss2");
  v1::RegisterServerRequest mds = Server("", 0, 'm');
  mds.mutable_targets(0)->set_is_mdt(true);
  EXPECT_EQ(service_->RegisterServer(mds)->server_name(), "mds0");
}

TEST_F(ClusterMapTest, OnlyChangesRaiseTheVersion) {
  const uint64_t version = service_->GetClusterMap().version();
  map_versions_.clear();
  ASSERT_TRUE(service_->RegisterServer(Server("", 9, 'z')).has_value());
  ASSERT_TRUE(service_->RegisterServer(Server("", 9, 'z')).has_value());
  EXPECT_EQ(service_->GetClusterMap().version(), version + 1);
  v1::RegisterServerRequest moved = Server("oss2", 9, 'z');
  moved.mutable_server()->set_hosts(0, "10.9.9.9");
  ASSERT_TRUE(service_->RegisterServer(moved).has_value());
  EXPECT_EQ(map_versions_, (std::vector<uint64_t>{version + 1, version + 2}));
}

TEST_F(ClusterMapTest, KeptSettingsAreInTheMapAndSurviveARestart) {
  const uint64_t version = service_->GetClusterMap().version();
  map_versions_.clear();
  ASSERT_TRUE(service_->KeepParam("osc.*.checksums", "0", false).has_value());
  ASSERT_TRUE(service_->KeepParam("timeout", "30", false).has_value());
  ASSERT_TRUE(service_->KeepParam("timeout", "40", false).has_value());
  EXPECT_EQ(map_versions_, (std::vector<uint64_t>{version + 1, version + 2, version + 3}));
  PowerCutAndStart();
  const v1::ClusterMap map = service_->GetClusterMap();
  EXPECT_EQ(map.version(), version + 3);
  ASSERT_EQ(map.params_size(), 2);
  EXPECT_EQ(map.params(0).name(), "osc.*.checksums");
  EXPECT_EQ(map.params(1).value(), "40");
  ASSERT_TRUE(service_->KeepParam("timeout", "", true).has_value());
  EXPECT_EQ(service_->GetClusterMap().params_size(), 1);
  EXPECT_EQ(service_->KeepParam("timeout", "", true).error().code(), Errc::kNoEntry);
  EXPECT_EQ(service_->KeepParam("two words", "1", false).error().code(), Errc::kInvalid);
  EXPECT_EQ(service_->KeepParam("x", std::string(5000, 'a'), false).error().code(),
            Errc::kInvalid);
}

TEST(KeptParams, DamagedRecordsAreRefused) {
  const KeptParams kept = {{"a", "1"}, {"b", ""}};
  const std::string bytes = EncodeKept(kept);
  EXPECT_EQ(*DecodeKept(bytes), kept);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(DecodeKept(bytes.substr(0, cut)).has_value()) << cut;
  }
  EXPECT_EQ(DecodeKept("\x02").error().code(), Errc::kBadVersion);
}

TEST_F(ClusterMapTest, WrongServersAreRefused) {
  v1::RegisterServerRequest other = Server("", 9, 'z');
  other.set_fsname("other");
  EXPECT_EQ(Error(other), Errc::kWrongFilesystem);
  EXPECT_EQ(Error(Server("", 0, 'z')), Errc::kExists) << "index 0 has another UUID";
  EXPECT_EQ(Error(Server("oss0", 9, 'z')), Errc::kExists) << "another server's name";
  EXPECT_EQ(Error(Server("bad name", 9, 'z')), Errc::kInvalid);
  v1::RegisterServerRequest no_port = Server("", 9, 'z');
  no_port.mutable_server()->set_data_port(70000);
  EXPECT_EQ(Error(no_port), Errc::kInvalid);
  v1::RegisterServerRequest empty = Server("", 9, 'z');
  empty.clear_targets();
  EXPECT_EQ(Error(empty), Errc::kInvalid);
  v1::RegisterServerRequest replaced = Server("oss0", 0, 'y');
  v1::TargetEntry* second = replaced.add_targets();
  second->set_index(1);
  second->set_uuid(std::string(16, 'b'));
  replaced.mutable_targets(0)->set_generation(1);
  EXPECT_EQ(Error(replaced), Errc::kOk) << "a raised generation replaces a target";
}

TEST_F(ClusterMapTest, TheMapSurvivesAPowerCut) {
  const v1::ClusterMap before = service_->GetClusterMap();
  PowerCutAndStart();
  EXPECT_EQ(service_->GetClusterMap().SerializeAsString(), before.SerializeAsString());
  const auto shown = Call<v1::ClusterMap>(rpc::Opcode::kMdsClusterMap, v1::ClusterMapRequest());
  EXPECT_EQ(shown.reply.SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(shown.reply.targets(0).name(), "sheen-OST0000");
}

TEST_F(ClusterMapTest, TargetsAreDownFiveSecondsAfterTheLastHeartbeat) {
  const auto ups = [&] {
    int up = 0;
    const auto reply = Call<v1::StatFsReply>(rpc::Opcode::kMdsStatFs, v1::StatFsRequest());
    EXPECT_EQ(reply.reply.targets_size(), 5);
    EXPECT_TRUE(reply.reply.targets(0).is_mdt());
    for (const auto& target : reply.reply.targets()) up += target.up() ? 1 : 0;
    return up;
  };
  EXPECT_EQ(ups(), 5);
  async::RunFor(&shard_, std::chrono::milliseconds(4900));
  EXPECT_EQ(ups(), 5);
  async::RunFor(&shard_, std::chrono::milliseconds(200));
  EXPECT_EQ(ups(), 1) << "the MDT itself";
  Beat();
  EXPECT_EQ(ups(), 5);
}

TEST_F(ClusterMapTest, HeartbeatsOfStrangersAreToldToRegister) {
  v1::HeartbeatRequest beat;
  beat.set_fsname("sheen");
  beat.set_server_name("oss7");
  beat.add_targets()->set_index(0);
  EXPECT_FALSE(service_->Heartbeat(beat)->known());
  beat.set_server_name("oss0");
  EXPECT_TRUE(service_->Heartbeat(beat)->known());
  beat.set_fsname("other");
  EXPECT_EQ(service_->Heartbeat(beat).error().code(), Errc::kWrongFilesystem);
}

TEST_F(ClusterMapTest, TheRecordComesBackAndDamageIsRefused) {
  MapRecord map{.version = 7,
                .servers = {{"oss0", {"a", "b"}, 7990, 7991}},
                .targets = {{false, 3, Uuid::Random(), 1, "oss0"}}};
  const std::string bytes = EncodeMap(map);
  EXPECT_EQ(DecodeMap(bytes).value(), map);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeMap(bytes.substr(0, size)).has_value());
  }
  EXPECT_FALSE(DecodeMap(bytes + "x").has_value());
  std::string newer = bytes;
  newer[0] = 2;
  EXPECT_EQ(DecodeMap(newer).error().code(), Errc::kBadVersion);
}

// tests/golden/mdt/cluster_map.hex, shown in docs/formats/mdt.md.
TEST(ClusterMapRecord, BytesAreThoseOfTheFormatDocument) {
  TargetInfo target{false, 3, {}, 1, "oss0"};
  for (uint8_t i = 0; i < 16; ++i) target.uuid.bytes[i] = i;
  const MapRecord map{
      .version = 7, .servers = {{"oss0", {"10.0.0.1"}, 7990, 7991}}, .targets = {target}};
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("/unit/")) + "/golden/mdt/cluster_map.hex");
  ASSERT_TRUE(file.good());
  std::string expected;
  for (std::string line; std::getline(file, line);) expected += line.substr(0, line.find(' '));
  std::string found;
  for (const char byte : EncodeMap(map)) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<uint8_t>(byte));
    found += two;
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace sheen::mds
