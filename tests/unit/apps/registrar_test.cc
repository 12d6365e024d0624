// An OSS's heartbeats to a management server on a real socket of loopback.
#include "apps/oss/registrar.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "rpc/grpc_server.h"

namespace sheen::apps {
namespace {

class CountingManagement final : public rpc::ManagementService {
 public:
  Result<v1::RegisterServerReply> RegisterServer(
      const v1::RegisterServerRequest& /*request*/) override {
    v1::RegisterServerReply reply;
    reply.set_server_name("oss0");
    return reply;
  }
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request) override {
    v1::HeartbeatReply reply;
    reply.set_known(true);
    std::unique_lock lock(mutex_);
    goodbyes_ += request.leaving() ? 1 : 0;
    ++beats_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !hangs_; });
    return reply;
  }
  v1::ClusterMap GetClusterMap() override { return {}; }

  bool AwaitBeats(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return beats_ >= count; });
  }
  void Hang(bool hangs) {
    const std::scoped_lock lock(mutex_);
    hangs_ = hangs;
    changed_.notify_all();
  }
  int goodbyes() {
    const std::scoped_lock lock(mutex_);
    return goodbyes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int beats_ = 0;
  int goodbyes_ = 0;
  bool hangs_ = false;
};

// Patient: what is too slow here never ends.
RegistrarOptions OptionsFor(const rpc::GrpcServer& server) {
  RegistrarOptions options;
  options.mgs = {{"127.0.0.1", server.port()}};
  options.spaces = [] { return std::vector<v1::TargetSpace>(); };
  options.on_registered = [](const std::string&) {};
  options.heartbeat_interval = std::chrono::hours(1);
  options.call_timeout = std::chrono::hours(1);
  return options;
}

TEST(RegistrarTest, AStopDoesNotWaitForAnMgsThatHangs) {
  CountingManagement management;
  rpc::GrpcServer server({});
  server.AddManagement(&management);
  ASSERT_TRUE(server.Start());
  Registrar registrar(OptionsFor(server));
  registrar.Start();
  ASSERT_TRUE(registrar.WaitForName(std::chrono::seconds(30)));
  management.Hang(true);
  registrar.Hurry();
  ASSERT_TRUE(management.AwaitBeats(2));
  registrar.Stop();
  EXPECT_EQ(management.goodbyes(), 0);
  management.Hang(false);
}

TEST(RegistrarTest, AStopSaysGoodbye) {
  CountingManagement management;
  rpc::GrpcServer server({});
  server.AddManagement(&management);
  ASSERT_TRUE(server.Start());
  Registrar registrar(OptionsFor(server));
  registrar.Start();
  ASSERT_TRUE(registrar.WaitForName(std::chrono::seconds(30)));
  EXPECT_FALSE(registrar.TroubleSince());
  registrar.Stop();
  EXPECT_EQ(management.goodbyes(), 1);
}

TEST(RegistrarTest, AnMgsThatIsAwayIsTrouble) {
  CountingManagement management;
  rpc::GrpcServer server({});
  server.AddManagement(&management);
  ASSERT_TRUE(server.Start());
  const RegistrarOptions options = OptionsFor(server);
  server.Stop(std::chrono::seconds(0));
  Registrar registrar(options);
  EXPECT_FALSE(registrar.TroubleSince());
  registrar.Start();
  for (int i = 0; i < 300 && !registrar.TroubleSince(); ++i) {
    EXPECT_FALSE(registrar.WaitForName(std::chrono::milliseconds(100)));
  }
  EXPECT_TRUE(registrar.TroubleSince());
  registrar.Stop();
}

TEST(RegistrarTest, WhoIsInAHurryDoesNotWaitForTheNextBeat) {
  CountingManagement management;
  rpc::GrpcServer server({});
  server.AddManagement(&management);
  ASSERT_TRUE(server.Start());
  Registrar registrar(OptionsFor(server));
  registrar.Start();
  ASSERT_TRUE(management.AwaitBeats(1));
  registrar.Hurry();
  EXPECT_TRUE(management.AwaitBeats(2));
  registrar.Hurry();
  EXPECT_TRUE(management.AwaitBeats(3));
  registrar.Stop();
}

}  // namespace
}  // namespace sheen::apps
