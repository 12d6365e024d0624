#include "oss/service.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "base/crc32c.h"
#include "oss/block_sums.h"
#include "sheen/v1/oss.pb.h"
#include "support/ost_world.h"

namespace sheen::oss {
namespace {

using test::OstWorld;

constexpr uint32_t kTarget = 3;

v1::ObjectName NameOf(uint32_t oid) {
  v1::ObjectName name;
  name.mutable_fid()->set_seq(kFirstClientSequence);
  name.mutable_fid()->set_oid(oid);
  name.set_birth(0x10000000007);
  return name;
}

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }
  void TearDown() override { StopBackground(); }

  void Start() {
    world.Start();
    service = std::make_unique<OssService>();
    service->AddTarget(kTarget, world.target.get());
    service->RegisterShard(&world.shard, world.io.get());
  }
  void StopBackground() {
    const Status stopped = world.Run(service->Stop());
    static_cast<void>(stopped);
  }
  void PowerCut() {
    StopBackground();
    service.reset();
    world.PowerCut();
    Start();
  }

  rpc::Request RequestOf(rpc::Opcode opcode, std::string body, std::string_view bulk = {},
                         uint32_t target = kTarget) {
    rpc::Request request;
    request.header.opcode = opcode;
    request.header.target = target;
    request.body = std::move(body);
    request.session = session;
    if (!bulk.empty()) {
      request.bulk = io::Buffer::Allocate(bulk.size());
      std::memcpy(request.bulk.data(), bulk.data(), bulk.size());
    }
    return request;
  }
  rpc::Response Call(rpc::Opcode opcode, std::string body, std::string_view bulk = {},
                     uint32_t target = kTarget) {
    return world.Run(service->Handle(RequestOf(opcode, std::move(body), bulk, target)));
  }
  rpc::Request WriteRequest(uint32_t oid, uint64_t offset, std::string_view data) {
    v1::OstWriteRequest body;
    *body.mutable_object() = NameOf(oid);
    body.set_offset(offset);
    body.set_handle(1);
    body.set_block_bytes(4096);
    AppendBlockSums(offset, AsBytes(data), 4096, body.mutable_block_crc());
    return RequestOf(rpc::Opcode::kOstWrite, body.SerializeAsString(), data);
  }
  rpc::Response Write(uint32_t oid, uint64_t offset, std::string_view data) {
    return world.Run(service->Handle(WriteRequest(oid, offset, data)));
  }
  rpc::Response Read(uint32_t oid, uint64_t offset, uint32_t length) {
    v1::OstReadRequest body;
    *body.mutable_object() = NameOf(oid);
    body.set_offset(offset);
    body.set_length(length);
    return Call(rpc::Opcode::kOstRead, body.SerializeAsString());
  }

  OstWorld world;
  std::unique_ptr<io::MemoryFileIo> slow_io;
  std::unique_ptr<OssService> service;
  std::shared_ptr<rpc::Session> session;
};

TEST_F(ServiceTest, ReadGivesTheBytesWithTheirSums) {
  const std::string data(10000, 'a');
  const rpc::Response written = Write(1, 100, data);
  ASSERT_EQ(written.status, Errc::kOk) << written.body;
  EXPECT_NE(written.transno, 0U);
  const rpc::Response read = Read(1, 100, 20000);
  ASSERT_EQ(read.status, Errc::kOk) << read.body;
  EXPECT_EQ(AsText(read.bulk.span()), data);
  v1::OstReadReply reply;
  ASSERT_TRUE(reply.ParseFromString(read.body));
  EXPECT_TRUE(reply.attr().exists());
  EXPECT_EQ(reply.attr().size(), 10100U);
  EXPECT_GT(reply.block_crc_size(), 0);
  EXPECT_TRUE(CheckBlockSums(100, read.bulk.span(), reply.block_bytes(), reply.block_crc()));
}

TEST_F(ServiceTest, AbsentObjectReadsAsNothing) {
  const rpc::Response read = Read(1, 0, 4096);
  ASSERT_EQ(read.status, Errc::kOk);
  EXPECT_EQ(read.bulk.size(), 0U);
  v1::OstReadReply reply;
  ASSERT_TRUE(reply.ParseFromString(read.body));
  EXPECT_FALSE(reply.attr().exists());
}

TEST_F(ServiceTest, DamagedBulkIsNotWritten) {
  v1::OstWriteRequest body;
  *body.mutable_object() = NameOf(1);
  body.set_handle(1);
  body.set_block_bytes(4096);
  AppendBlockSums(0, AsBytes("good"), 4096, body.mutable_block_crc());
  const rpc::Response written = Call(rpc::Opcode::kOstWrite, body.SerializeAsString(), "evil");
  EXPECT_EQ(written.status, Errc::kCorrupt);
  EXPECT_NE(written.body.find("sheen-OST0003"), std::string::npos);
  EXPECT_EQ(Read(1, 0, 10).bulk.size(), 0U);
}

TEST_F(ServiceTest, RequestsOutOfTheirLimitsAreRefused) {
  EXPECT_EQ(Read(1, 0, (4 << 20) + 1).status, Errc::kInvalid);
  EXPECT_EQ(Read(1, UINT64_MAX - 5, 10).status, Errc::kFileTooBig);
  EXPECT_EQ(Write(1, INT64_MAX, "x").status, Errc::kFileTooBig);
  EXPECT_EQ(Read(0x1000000, 0, 10).status, Errc::kInvalid);  // an oid beyond 2^24
  EXPECT_EQ(Call(rpc::Opcode::kOstRead, "\xFFnot a message").status, Errc::kProtocol);
  EXPECT_EQ(Call(rpc::Opcode::kMdsLookup, "").status, Errc::kNoSys);
}

TEST_F(ServiceTest, TargetOfAnotherServerIsAnsweredWithARedirect) {
  v1::OstStatFsRequest body;
  const rpc::Response answer =
      Call(rpc::Opcode::kOstStatFs, body.SerializeAsString(), {}, kTarget + 1);
  EXPECT_EQ(answer.status, Errc::kNotThisServer);
  EXPECT_EQ(ClassOf(answer.status), ErrClass::kRedirect);
}

TEST_F(ServiceTest, ObjectsAreMadeOnlyWithAnOpenHandle) {
  v1::OstWriteRequest body;
  *body.mutable_object() = NameOf(1);
  EXPECT_EQ(Call(rpc::Opcode::kOstWrite, body.SerializeAsString(), "x").status, Errc::kBadHandle);
  v1::OstTruncateRequest truncate;
  *truncate.mutable_object() = NameOf(1);
  truncate.set_create(true);
  EXPECT_EQ(Call(rpc::Opcode::kOstTruncate, truncate.SerializeAsString()).status, Errc::kBadHandle);
}

TEST_F(ServiceTest, AttributesOfManyObjectsComeInOrder) {
  ASSERT_EQ(Write(1, 0, "abc").status, Errc::kOk);
  ASSERT_EQ(Write(3, 5000, "def").status, Errc::kOk);
  v1::OstGetAttrRequest body;
  for (const uint32_t oid : {1U, 2U, 3U}) *body.add_objects() = NameOf(oid);
  const rpc::Response answer = Call(rpc::Opcode::kOstGetAttr, body.SerializeAsString());
  ASSERT_EQ(answer.status, Errc::kOk);
  v1::OstGetAttrReply reply;
  ASSERT_TRUE(reply.ParseFromString(answer.body));
  ASSERT_EQ(reply.attrs_size(), 3);
  EXPECT_EQ(reply.attrs(0).size(), 3U);
  EXPECT_FALSE(reply.attrs(1).exists());
  EXPECT_EQ(reply.attrs(2).size(), 5003U);
  EXPECT_EQ(reply.attrs(2).blocks(), 8U);
}

TEST_F(ServiceTest, TruncateAllocateAndSeekGoThrough) {
  v1::OstTruncateRequest truncate;
  *truncate.mutable_object() = NameOf(1);
  truncate.set_size(20000);
  truncate.set_handle(1);
  truncate.set_create(true);
  ASSERT_EQ(Call(rpc::Opcode::kOstTruncate, truncate.SerializeAsString()).status, Errc::kOk);
  v1::OstAllocateRequest allocate;
  *allocate.mutable_object() = NameOf(1);
  allocate.set_handle(1);
  allocate.set_offset(4096);
  allocate.set_length(4096);
  ASSERT_EQ(Call(rpc::Opcode::kOstAllocate, allocate.SerializeAsString()).status, Errc::kOk);
  allocate.set_mode(FALLOC_FL_INSERT_RANGE);
  EXPECT_EQ(Call(rpc::Opcode::kOstAllocate, allocate.SerializeAsString()).status,
            Errc::kNotSupported);
  ASSERT_EQ(Write(1, 12288, "x").status, Errc::kOk);
  v1::OstSeekRequest seek;
  *seek.mutable_object() = NameOf(1);
  seek.set_offset(8192);
  const rpc::Response answer = Call(rpc::Opcode::kOstSeek, seek.SerializeAsString());
  v1::OstSeekReply reply;
  ASSERT_TRUE(reply.ParseFromString(answer.body));
  EXPECT_TRUE(reply.found());
  EXPECT_EQ(reply.size(), 20000U);
}

TEST_F(ServiceTest, SyncMakesAnsweredWritesDurable) {
  const rpc::Response written = Write(1, 0, "abc");
  EXPECT_LT(service->LastCommitted(kTarget), written.transno);
  ASSERT_EQ(Call(rpc::Opcode::kOstSync, v1::OstSyncRequest().SerializeAsString()).status,
            Errc::kOk);
  EXPECT_GE(service->LastCommitted(kTarget), written.transno);
  PowerCut();
  EXPECT_EQ(AsText(Read(1, 0, 10).bulk.span()), "abc");
}

TEST_F(ServiceTest, BackgroundCommitsEverySecond) {
  service->StartBackground(&world.shard);
  const rpc::Response written = Write(1, 0, "abc");
  EXPECT_LT(service->LastCommitted(kTarget), written.transno);
  async::RunFor(&world.shard, std::chrono::milliseconds(1100));
  EXPECT_EQ(service->LastCommitted(kTarget), written.transno);
}

TEST_F(ServiceTest, StopCommitsWhatIsLeft) {
  service->StartBackground(&world.shard);
  ASSERT_EQ(Write(1, 0, "abc").status, Errc::kOk);
  ASSERT_TRUE(world.Run(service->Stop()));
  PowerCut();
  EXPECT_EQ(AsText(Read(1, 0, 10).bulk.span()), "abc");
}

TEST_F(ServiceTest, StoppedTargetAnswersWithTheReasonEverywhere) {
  ASSERT_EQ(Write(1, 0, "abc").status, Errc::kOk);
  EXPECT_EQ(service->StateText(), "serving");
  world.files.FailSyncs(Errc::kIo);
  EXPECT_EQ(Call(rpc::Opcode::kOstSync, "").status, Errc::kIo);
  world.files.FailSyncs(Errc::kOk);
  const rpc::Response read = Read(1, 0, 3);
  EXPECT_EQ(read.status, Errc::kIo);
  EXPECT_NE(read.body.find("has stopped serving"), std::string::npos);
  EXPECT_TRUE(service->StateText().starts_with("stopped: sheen-OST0003"));
  const auto spaces = world.Run(service->TargetSpaces());
  ASSERT_EQ(spaces.size(), 1U);
  EXPECT_FALSE(spaces[0].up());
  EXPECT_EQ(spaces[0].name(), "sheen-OST0003");
}

TEST_F(ServiceTest, DestroyIsDurableWhenAnswered) {
  ASSERT_EQ(Write(1, 0, "abc").status, Errc::kOk);
  ASSERT_EQ(Call(rpc::Opcode::kOstSync, "").status, Errc::kOk);
  v1::DestroyObjectsRequest request;
  request.set_target(kTarget);
  *request.add_objects() = NameOf(1);
  ASSERT_TRUE(world.Run(service->DestroyObjects(request)));
  PowerCut();
  EXPECT_EQ(Read(1, 0, 3).bulk.size(), 0U);
  EXPECT_EQ(Write(1, 0, "late").status, Errc::kStale);
  request.set_target(kTarget + 1);
  EXPECT_EQ(world.Run(service->DestroyObjects(request)).error().code(), Errc::kNotThisServer);
}

TEST_F(ServiceTest, SessionsAndFencesSurviveAPowerCut) {
  const Uuid client = Uuid::Random();
  const Uuid other = Uuid::Random();
  ASSERT_TRUE(world.Run(service->Save(7, client, {1, 2, 3})));
  ASSERT_TRUE(world.Run(service->Save(8, other, {4})));
  ASSERT_TRUE(world.Run(service->Save(9, other, {5})));
  ASSERT_TRUE(world.Run(service->Remove(9)));
  v1::FenceSessionRequest fence;
  fence.set_client_uuid(client.bytes.data(), client.bytes.size());
  ASSERT_TRUE(world.Run(service->FenceSession(fence)));
  PowerCut();
  const auto loaded = world.Run(service->LoadSessions());
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  ASSERT_EQ(loaded->size(), 2U);
  EXPECT_EQ((*loaded)[0]->id(), 7U);
  EXPECT_EQ((*loaded)[0]->client_uuid(), client);
  EXPECT_EQ((*loaded)[0]->secret()[2], 3);
  session = (*loaded)[0];
  EXPECT_EQ(Write(1, 0, "late").status, Errc::kFenced);
  session = (*loaded)[1];
  EXPECT_EQ(Write(1, 0, "mine").status, Errc::kOk);
  // The fenced client comes back as a new session.
  ASSERT_TRUE(world.Run(service->Save(10, client, {6})));
  session = std::make_shared<rpc::Session>(10, client, std::array<uint8_t, 16>{6});
  EXPECT_EQ(Write(1, 0, "back").status, Errc::kOk);
}

TEST_F(ServiceTest, AFenceAnswersAfterTheWritesThatWereUnderWay) {
  slow_io = std::make_unique<io::MemoryFileIo>(
      &world.files, &world.shard,
      io::MemoryFileIoOptions{.latency_min = std::chrono::seconds(1),
                              .latency_max = std::chrono::seconds(1)});
  service = std::make_unique<OssService>();
  service->AddTarget(kTarget, world.target.get());
  service->RegisterShard(&world.shard, slow_io.get());
  const Uuid client = Uuid::Random();
  ASSERT_TRUE(world.Run(service->Save(7, client, {1})));
  session = std::make_shared<rpc::Session>(7, client, std::array<uint8_t, 16>{1});
  std::optional<rpc::Response> written;
  std::optional<Status> fenced;
  world.Start(service->Handle(WriteRequest(1, 0, "under way")), &written);
  v1::FenceSessionRequest fence;
  fence.set_client_uuid(client.bytes.data(), client.bytes.size());
  world.Start(service->FenceSession(fence), &fenced);
  world.Finish(&fenced);
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(written->status, Errc::kOk);
  EXPECT_EQ(Write(1, 0, "late").status, Errc::kFenced);
  session.reset();
  EXPECT_EQ(AsText(Read(1, 0, 100).bulk.span()), "under way");
}

TEST_F(ServiceTest, TargetThatWentBackInTimeRefusesTheClient) {
  ASSERT_EQ(Write(1, 0, "abc").status, Errc::kOk);
  ASSERT_EQ(Call(rpc::Opcode::kOstSync, "").status, Errc::kOk);
  const uint64_t committed = service->LastCommitted(kTarget);
  EXPECT_TRUE(service->CheckCommitted(kTarget, committed));
  const Status behind = service->CheckCommitted(kTarget, committed + 1);
  ASSERT_FALSE(behind);
  EXPECT_NE(behind.error().message().find("went back in time"), std::string::npos);
}

// ---- a change that comes again ----

class OnceTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    Connect();
  }
  void Connect() {
    session = std::make_shared<rpc::Session>(7, client_, std::array<uint8_t, 16>{1});
    const Status saved = world.Run(service->Save(7, client_, {1}));
    ASSERT_TRUE(saved);
  }
  rpc::Response WriteAs(uint32_t slot, uint64_t xid, std::string_view data, uint16_t flags = 0) {
    rpc::Request request = WriteRequest(1, 0, data);
    request.header.slot = slot;
    request.header.xid = xid;
    request.header.flags = flags;
    return world.Run(service->Handle(std::move(request)));
  }
  std::string Bytes() { return std::string(AsText(Read(1, 0, 100).bulk.span())); }

  const Uuid client_ = Uuid::Random();
};

TEST_F(OnceTest, AResendIsAnsweredAsItWasAndChangesNothing) {
  const rpc::Response first = WriteAs(3, 10, "first");
  ASSERT_EQ(first.status, Errc::kOk) << first.body;
  ASSERT_EQ(WriteAs(4, 11, "newer").status, Errc::kOk);
  const rpc::Response again = WriteAs(3, 10, "first", rpc::kResend);
  EXPECT_EQ(again.status, Errc::kOk);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.transno, first.transno);
  EXPECT_EQ(Bytes(), "newer");
  ASSERT_EQ(WriteAs(3, 12, "again").status, Errc::kOk) << "a new request of the slot";
  EXPECT_EQ(WriteAs(3, 10, "first", rpc::kResend).status, Errc::kStale);
  EXPECT_EQ(WriteAs(3, 10, "first", rpc::kReplay).status, Errc::kLockLost)
      << "a replay comes before its slot is used again";
  EXPECT_EQ(Bytes(), "again");
}

TEST_F(OnceTest, AnAppendIsMadeOnlyWhereTheObjectEnds) {
  const auto append = [this](uint64_t offset, uint64_t xid, uint16_t flags) {
    rpc::Request request = WriteRequest(1, offset, "tail");
    v1::OstWriteRequest body;
    EXPECT_TRUE(body.ParseFromString(request.body));
    body.set_append(true);
    request.body = body.SerializeAsString();
    request.header.slot = 3;
    request.header.xid = xid;
    request.header.flags = flags;
    return world.Run(service->Handle(std::move(request))).status;
  };
  EXPECT_EQ(append(5, 10, 0), Errc::kOk) << "of an object that is not there yet";
  EXPECT_EQ(append(5, 10, rpc::kResend), Errc::kOk) << "the same again";
  EXPECT_EQ(append(5, 11, 0), Errc::kAgain);
  EXPECT_EQ(append(8, 12, 0), Errc::kAgain);
  EXPECT_EQ(append(9, 13, 0), Errc::kOk);
  EXPECT_EQ(Bytes().substr(5), "tailtail");
}

TEST_F(OnceTest, ARestartedServerKnowsWhatWasCommittedAndDoesTheRestAnew) {
  const rpc::Response first = WriteAs(3, 10, "first");
  ASSERT_EQ(Call(rpc::Opcode::kOstSync, "").status, Errc::kOk);
  ASSERT_EQ(WriteAs(4, 11, "lost!").status, Errc::kOk);
  world.fuse->Blow();  // it stops without a commit
  PowerCut();
  const auto loaded = world.Run(service->LoadSessions());
  ASSERT_TRUE(loaded);
  ASSERT_EQ(WriteAs(5, 12, "newer").status, Errc::kOk);
  const rpc::Response again = WriteAs(3, 10, "first", rpc::kResend);
  EXPECT_EQ(again.status, Errc::kOk);
  EXPECT_EQ(again.transno, first.transno);
  v1::OstWriteReply reply;
  ASSERT_TRUE(reply.ParseFromString(again.body));
  EXPECT_EQ(reply.attr().size(), 5U);
  EXPECT_EQ(Bytes(), "newer");
  EXPECT_EQ(WriteAs(4, 11, "lost!", rpc::kResend).status, Errc::kOk);
  EXPECT_EQ(Bytes(), "lost!");
}

TEST_F(OnceTest, OfASessionThatHasEndedNothingIsKnown) {
  ASSERT_EQ(WriteAs(3, 10, "first").status, Errc::kOk);
  ASSERT_TRUE(world.Run(service->Remove(7)));
  Connect();
  ASSERT_EQ(WriteAs(4, 11, "newer").status, Errc::kOk);
  ASSERT_EQ(WriteAs(3, 10, "first", rpc::kResend).status, Errc::kOk);
  EXPECT_EQ(Bytes(), "first");
}

TEST_F(OnceTest, ASlotBeyondAllIsRefused) {
  EXPECT_EQ(WriteAs(ReplySlots::kSlotMax + 1, 10, "x").status, Errc::kProtocol);
  EXPECT_EQ(WriteAs(ReplySlots::kSlotMax, 10, "x").status, Errc::kOk);
}

}  // namespace
}  // namespace sheen::oss
