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
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& /*request*/) override {
    v1::HeartbeatReply reply;
    reply.set_known(true);
    const std::scoped_lock lock(mutex_);
    ++beats_;
    changed_.notify_all();
    return reply;
  }
  v1::ClusterMap GetClusterMap() override { return {}; }

  bool AwaitBeats(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return beats_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int beats_ = 0;
};

TEST(RegistrarTest, WhoIsInAHurryDoesNotWaitForTheNextBeat) {
  CountingManagement management;
  rpc::GrpcServer server({});
  server.AddManagement(&management);
  ASSERT_TRUE(server.Start());
  RegistrarOptions options;
  options.mgs = {{"127.0.0.1", server.port()}};
  options.spaces = [] { return std::vector<v1::TargetSpace>(); };
  options.on_registered = [](const std::string&) {};
  options.heartbeat_interval = std::chrono::hours(1);
  Registrar registrar(std::move(options));
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
