// The control plane over real sockets on loopback: server builder, adapters, clients.
#include "rpc/grpc_control.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "async/shard.h"
#include "rpc/grpc_server.h"

namespace sheen::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Sleeps between turns until woken.
class ThreadPoller final : public async::Poller {
 public:
  void Poll(Nanos max_wait) override {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, max_wait, [this] { return woken_; });
    woken_ = false;
  }
  void Wake() override {
    std::lock_guard lock(mutex_);
    woken_ = true;
    ready_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  bool woken_ = false;
};

// A shard on a thread of its own.
class RunningShard final {
 public:
  RunningShard() : thread_([this] { shard_.Run(); }) {}
  ~RunningShard() {
    shard_.Stop();
    thread_.join();
  }
  async::Shard* get() { return &shard_; }

  // Runs the task on the shard; blocks.
  template <class T>
  T Await(std::function<async::Task<T>()> make) {
    std::promise<T> promise;
    shard_.Post([this, &promise, &make] { shard_.Spawn(Deliver(make(), &promise)); });
    return promise.get_future().get();
  }

 private:
  template <class T>
  static async::Task<void> Deliver(async::Task<T> task, std::promise<T>* out) {
    out->set_value(co_await std::move(task));
  }
  ThreadPoller poller_;
  async::Shard shard_{&poller_, &SystemClock()};
  std::thread thread_;
};

class TestManagement final : public ManagementService {
 public:
  Result<v1::RegisterServerReply> RegisterServer(
      const v1::RegisterServerRequest& request) override {
    if (request.fsname() != "sheen") {
      return Fail(Errc::kWrongFilesystem, "this MGS is of filesystem 'sheen'");
    }
    v1::RegisterServerReply reply;
    reply.set_server_name("oss7");
    return reply;
  }
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request) override {
    v1::HeartbeatReply reply;
    reply.set_known(request.server_name() == "oss7");
    return reply;
  }
  v1::ClusterMap GetClusterMap() override {
    v1::ClusterMap map;
    map.set_version(5);
    for (int i = 0; i < 3000; ++i) map.add_targets()->set_name("sheen-OST" + std::to_string(i));
    return map;
  }
};

class TestObjects final : public ObjectControlService {
 public:
  async::Task<Status> DestroyObjects(v1::DestroyObjectsRequest request) override {
    async::Shard* const shard = async::Shard::Current();
    EXPECT_NE(shard, nullptr);
    co_await shard->Sleep(delay);
    destroyed += static_cast<uint64_t>(request.objects_size());
    co_return Status{};
  }
  async::Task<Status> SetObjectOwner(v1::SetObjectOwnerRequest request) override {
    co_return Fail(Errc::kNotThisServer,
                   "OST " + std::to_string(request.target()) + " is not here");
  }
  async::Task<Status> FenceSession(v1::FenceSessionRequest) override { co_return Status{}; }
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(v1::RestoreObjectRequest) override {
    co_return v1::RestoreObjectReply();
  }

  Nanos delay{0};
  std::atomic<uint64_t> destroyed{0};
};

class GrpcControlTest : public ::testing::Test {
 protected:
  void StartServer(GrpcServerOptions options = {}) {
    server = std::make_unique<GrpcServer>(std::move(options));
    server->AddManagement(&management);
    server->AddObjectControl(&objects, oss_shard.get());
    server->AddAdmin({.status = [] {
      v1::GetStatusReply reply;
      reply.set_program("sheen-mds");
      return reply;
    }});
    const Status started = server->Start();
    ASSERT_TRUE(started.has_value()) << started.error().ToString();
    ASSERT_NE(server->port(), 0);
  }
  Address Here() const { return {"127.0.0.1", server->port()}; }
  Status Destroy(GrpcObjectControl* control, const std::string& name, int count) {
    v1::DestroyObjectsRequest request;
    for (int i = 0; i < count; ++i) request.add_objects()->set_birth(1);
    return mds_shard.Await<Status>([&] { return control->DestroyObjects(name, request); });
  }

  TestManagement management;
  TestObjects objects;
  RunningShard mds_shard;
  RunningShard oss_shard;
  std::unique_ptr<GrpcServer> server;
};

TEST_F(GrpcControlTest, ManagementCallsComeThrough) {
  StartServer();
  MgsClient mgs({Here()});
  v1::RegisterServerRequest request;
  request.set_fsname("sheen");
  const auto registered = mgs.RegisterServer(request);
  ASSERT_TRUE(registered.has_value()) << registered.error().ToString();
  EXPECT_EQ(registered->server_name(), "oss7");
  v1::HeartbeatRequest beat;
  beat.set_server_name("oss7");
  EXPECT_TRUE(mgs.Heartbeat(beat)->known());
  const auto map = mgs.GetClusterMap(0);
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->targets_size(), 3000);
  request.set_fsname("other");
  const auto refused = mgs.RegisterServer(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kWrongFilesystem);
  EXPECT_NE(refused.error().message().find(Here().ToString()), std::string::npos);
  EXPECT_NE(refused.error().message().find("this MGS is of filesystem 'sheen'"), std::string::npos);
}

TEST_F(GrpcControlTest, ObjectCallsRunOnTheShardAndResumeTheirCaller) {
  StartServer();
  GrpcObjectControl control([&](const std::string& name) -> std::optional<Address> {
    return name == "oss0" ? std::optional(Here()) : std::nullopt;
  });
  objects.delay = milliseconds(5);
  EXPECT_TRUE(Destroy(&control, "oss0", 3).has_value());
  EXPECT_EQ(objects.destroyed.load(), 3U);
  const Status unknown = Destroy(&control, "oss9", 1);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code(), Errc::kUnavailable);
  v1::SetObjectOwnerRequest owner;
  owner.set_target(4);
  const Status elsewhere =
      mds_shard.Await<Status>([&] { return control.SetObjectOwner("oss0", owner); });
  ASSERT_FALSE(elsewhere.has_value());
  EXPECT_EQ(elsewhere.error().code(), Errc::kNotThisServer);
  EXPECT_NE(elsewhere.error().message().find("OST 4 is not here"), std::string::npos);
}

TEST_F(GrpcControlTest, UnreachableServerIsUnavailableAndNamed) {
  StartServer();
  const Address gone = Here();
  server->Stop(seconds(1));
  GrpcObjectControl control([&](const std::string&) { return gone; });
  const Status failed = Destroy(&control, "oss0", 1);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kUnavailable);
  EXPECT_NE(failed.error().message().find("oss0 at " + gone.ToString()), std::string::npos)
      << failed.error().message();
  MgsClient mgs({gone});
  EXPECT_EQ(mgs.GetClusterMap(0).error().code(), Errc::kUnavailable);
}

TEST_F(GrpcControlTest, SlowServerIsUnavailableAfterTheDeadline) {
  StartServer();
  objects.delay = seconds(3);
  GrpcObjectControl control([&](const std::string&) { return Here(); }, milliseconds(50));
  const Status failed = Destroy(&control, "oss0", 1);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kUnavailable);
}

TEST_F(GrpcControlTest, NextAddressOfTheMgsIsTried) {
  StartServer();
  GrpcServer other({});
  other.AddManagement(&management);
  ASSERT_TRUE(other.Start().has_value());
  const Address gone{"127.0.0.1", other.port()};
  other.Stop(seconds(0));
  MgsClient mgs({gone, Here()});
  EXPECT_TRUE(mgs.GetClusterMap(0).has_value());
  EXPECT_TRUE(mgs.GetClusterMap(0).has_value());
}

TEST_F(GrpcControlTest, AdminGetsTheStatus) {
  StartServer();
  AdminClient admin(Here());
  const auto status = admin.GetStatus();
  ASSERT_TRUE(status.has_value()) << status.error().ToString();
  EXPECT_EQ(status->program(), "sheen-mds");
}

TEST_F(GrpcControlTest, MethodWithoutARowKeepsTheServerFromStarting) {
  GrpcServerOptions options;
  options.authorization.erase("sheen.v1.Management/Heartbeat");
  GrpcServer other(options);
  other.AddAdmin({.status = [] { return v1::GetStatusReply(); }});
  other.AddManagement(&management);
  const Status started = other.Start();
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().message().find("sheen.v1.Management/Heartbeat"), std::string::npos);
}

TEST_F(GrpcControlTest, OtherThanLoopbackNeedsAnAllowList) {
  GrpcServer everywhere({.host = "*"});
  const Status started = everywhere.Start();
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().message().find("--allow"), std::string::npos);
  GrpcServer allowed({.host = "*", .allow = {"10.0.0.0/8"}});
  allowed.AddManagement(&management);
  EXPECT_TRUE(allowed.Start().has_value());
  MgsClient mgs({{"127.0.0.1", allowed.port()}});
  EXPECT_TRUE(mgs.GetClusterMap(0).has_value()) << "IPv4 is taken as well";
  GrpcServer bad({.allow = {"10.0.0.0/33"}});
  EXPECT_FALSE(bad.Start().has_value());
}

TEST_F(GrpcControlTest, PortInUseIsSaid) {
  StartServer();
  GrpcServer second({.port = server->port()});
  const Status started = second.Start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code(), Errc::kBusy);
  EXPECT_NE(started.error().message().find(std::to_string(server->port())), std::string::npos);
}

TEST_F(GrpcControlTest, CallsInFlightAreBounded) {
  GrpcServerOptions options;
  options.calls_in_flight_max = 0;
  StartServer(options);
  AdminClient admin(Here());
  EXPECT_EQ(admin.GetStatus().error().code(), Errc::kUnavailable);
}

TEST_F(GrpcControlTest, StopWaitsForCallsAndIsIdempotent) {
  StartServer();
  objects.delay = milliseconds(100);
  GrpcObjectControl control([&](const std::string&) { return Here(); });
  auto call = std::async(std::launch::async, [&] { return Destroy(&control, "oss0", 1); });
  while (objects.destroyed.load() == 0 &&
         call.wait_for(milliseconds(0)) != std::future_status::ready) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(call.get().has_value());
  server->Stop(seconds(5));
  server->Stop(seconds(5));
  EXPECT_EQ(objects.destroyed.load(), 1U);
}

// A whole idle daemon must stay under 64 MiB.
TEST_F(GrpcControlTest, IdleServerIsSmall) {
  StartServer();
  AdminClient admin(Here());
  ASSERT_TRUE(admin.GetStatus().has_value());
  std::ifstream status("/proc/self/status");
  std::string line;
  uint64_t kilobytes = 0;
  while (std::getline(status, line)) {
    if (line.starts_with("VmRSS:")) kilobytes = std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  EXPECT_GT(kilobytes, 0U);
  EXPECT_LT(kilobytes, 48U * 1024);
}

TEST(GrpcAuthorizationTest, ClassesDecideByPeer) {
  const AuthorizationTable table = {{"s/Client", CallerClass::kClient},
                                    {"s/Server", CallerClass::kServer},
                                    {"s/Admin", CallerClass::kAdmin}};
  const GrpcAuthorization guard(table, *CidrList::Parse({"10.0.0.0/8"}));
  for (const char* const local : {"ipv4:127.0.0.1:40", "ipv6:%5B::1%5D:40", "unix:/run/x"}) {
    EXPECT_TRUE(guard.Check("s/Admin", local).has_value()) << local;
    EXPECT_TRUE(guard.Check("s/Server", local).has_value()) << local;
  }
  EXPECT_TRUE(guard.Check("s/Server", "ipv4:10.1.1.1:40").has_value());
  EXPECT_FALSE(guard.Check("s/Admin", "ipv4:10.1.1.1:40").has_value());
  EXPECT_FALSE(guard.Check("s/Server", "ipv4:11.1.1.1:40").has_value());
  EXPECT_FALSE(guard.Check("s/Server", "ipv6:%5Bfd00::1%5D:40").has_value());
  EXPECT_FALSE(guard.Check("s/Server", "garbage").has_value());
  EXPECT_FALSE(guard.Check("s/Unknown", "ipv4:127.0.0.1:40").has_value());
}

TEST(GrpcAuthorizationTest, DefaultTableHasEveryMethodOfOurServices) {
  const GrpcAuthorization guard(DefaultAuthorizationTable(), *CidrList::Parse({}));
  for (const char* const service :
       {"sheen.v1.Management", "sheen.v1.ObjectControl", "sheen.v1.Admin"}) {
    EXPECT_TRUE(guard.CheckService(service).has_value()) << service;
  }
  EXPECT_FALSE(guard.CheckService("sheen.v1.Nothing").has_value());
}

TEST(OwnAddress, IsThatOfAnInterfaceHere) {
  EXPECT_TRUE(IsOwnAddress("127.0.0.1"));
  EXPECT_FALSE(IsOwnAddress("192.0.2.1"));  // TEST-NET-1
  EXPECT_FALSE(IsOwnAddress(""));
}

}  // namespace
}  // namespace sheen::rpc
