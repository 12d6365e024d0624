// Latches between operations: parking, and real threads in one directory.
#include <atomic>
#include <set>
#include <thread>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

// Two shards on two threads and a pool; nothing is virtual.
class IdlePoller final : public async::Poller {
 public:
  void Poll(Nanos max_wait) override {
    if (max_wait > Nanos(0)) std::this_thread::yield();
  }
  void Wake() override {}
};

class Worker final {
 public:
  Worker(MdsService* service, std::shared_ptr<rpc::Session> session, uint64_t number)
      : service_(service), session_(std::move(session)), number_(number) {}

  void Run() {
    async::Shard shard(&poller_, &SystemClock());
    for (uint64_t lane = 0; lane < 4; ++lane) {
      shard.Post([this, &shard, lane] { shard.Spawn(Work(lane)); });
    }
    do shard.RunOnce(Nanos(1));
    while (shard.live_tasks() > 0 || finished_ == 0);
  }
  uint64_t unexpected() const { return unexpected_; }

 private:
  async::Task<void> Work(uint64_t lane) {
    for (uint32_t i = 0; i < 150; ++i) {
      const std::string name = "n" + std::to_string((i * 7 + lane) % 5);
      v1::MakeNodeRequest make;
      SetFid(kRootFid, make.mutable_parent());
      SetFid({kFirstClientSequence + number_, static_cast<uint32_t>(lane * 10000 + i + 1), 0},
             make.mutable_fid());
      make.set_name(name);
      make.set_mode((i % 2 == 0 ? S_IFIFO : S_IFDIR) | 0755);
      co_await Send(rpc::Opcode::kMdsMakeNode, make.SerializeAsString(), lane);
      v1::RenameRequest rename;
      SetFid(kRootFid, rename.mutable_old_parent());
      SetFid(kRootFid, rename.mutable_new_parent());
      rename.set_old_name(name);
      rename.set_new_name("n" + std::to_string((i * 3 + number_) % 5));
      rename.set_flags(i % 3 == 0 ? 2 : 0);
      co_await Send(rpc::Opcode::kMdsRename, rename.SerializeAsString(), lane);
      v1::UnlinkRequest unlink;
      SetFid(kRootFid, unlink.mutable_parent());
      unlink.set_name("n" + std::to_string(i % 5));
      co_await Send(i % 2 == 0 ? rpc::Opcode::kMdsUnlink : rpc::Opcode::kMdsRemoveDir,
                    unlink.SerializeAsString(), lane);
    }
    ++finished_;
  }
  async::Task<void> Send(rpc::Opcode opcode, std::string body, uint64_t lane) {
    rpc::Request request;
    request.header.opcode = opcode;
    request.header.xid = ++xid_;
    request.header.slot = static_cast<uint32_t>(number_ * 10 + lane + 1);
    request.body = std::move(body);
    request.session = session_;
    const rpc::Response response = co_await service_->Handle(std::move(request));
    static const std::set<Errc> kExpected = {Errc::kOk, Errc::kExists, Errc::kNoEntry,
                                             Errc::kIsDirectory, Errc::kNotDirectory};
    if (!kExpected.contains(response.status)) ++unexpected_;
  }

  IdlePoller poller_;
  MdsService* const service_;
  const std::shared_ptr<rpc::Session> session_;
  const uint64_t number_;
  uint64_t xid_ = 0;
  uint64_t finished_ = 0;
  std::atomic<uint64_t> unexpected_{0};
};

class ContentionTest : public MdsFixture {
 protected:
  void SetUp() override {
    background_ = false;
    MdsFixture::SetUp();
  }
};

TEST_F(ContentionTest, ThreadsInOneDirectoryLeaveItWhole) {
  const auto second = Connect();
  ASSERT_TRUE(Run(service_->Stop()).has_value());
  service_.reset();
  async::BlockingPool pool(2);
  service_ = std::make_unique<MdsService>(
      MdsOptions{.store = store_.get(), .pool = &pool, .clock = &SystemClock(), .fsname = "sheen"});
  ASSERT_TRUE(service_->Open().has_value());
  disk_.WouldBlockEvery(5);
  Worker one(service_.get(), session_, 0);
  Worker two(service_.get(), second, 1);
  std::thread other([&two] { two.Run(); });
  one.Run();
  other.join();
  disk_.WouldBlockEvery(0);
  EXPECT_EQ(one.unexpected(), 0u);
  EXPECT_EQ(two.unexpected(), 0u);
  CheckStore();
  // The fixture's TearDown stops a service on the virtual clock: leave it one.
  service_.reset();
  Start();
}

}  // namespace
}  // namespace sheen::mds
