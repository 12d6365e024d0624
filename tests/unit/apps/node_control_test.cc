#include "apps/common/node_control.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "apps/common/run_directory.h"

namespace sheen::apps {
namespace {

class NodeControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sheen-node-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    ::setenv("SHEEN_RUN_DIR", name, 1);
  }
  void TearDown() override {
    control.reset();
    ::unsetenv("SHEEN_RUN_DIR");
    std::filesystem::remove_all(directory);
  }
  Status Start(const std::string& metrics = "") {
    control = std::make_unique<NodeControl>(
        NodeControlOptions{.program = "sheen-test", .metrics = metrics});
    control->AddParams([this](ParamList* list) {
      list->push_back({"level", [this] { return std::to_string(level); },
                       [this](const std::string& value) -> Status {
                         SHEEN_TRY_ASSIGN(level, ParseParamNumber(value, 0, 9));
                         return {};
                       }});
    });
    control->AddMetrics([](MetricsText* text) { text->Counter("made_total", "Made.", {}, 4); });
    return control->Start();
  }
  std::string Socket() {
    const std::vector<std::string> sockets = DaemonSockets();
    return sockets.size() == 1 ? sockets[0] : "";
  }
  Result<v1::LocalReply> SetLevel(const std::string& value, bool keep = false) {
    v1::LocalRequest request;
    request.mutable_set_param()->set_pattern("level");
    request.mutable_set_param()->set_value(value);
    request.mutable_set_param()->set_keep(keep);
    return AskDaemon(Socket(), request);
  }
  std::string Level() {
    v1::LocalRequest request;
    request.mutable_get_params()->add_patterns("level");
    const auto reply = AskDaemon(Socket(), request);
    if (!reply || reply->get_params().params_size() != 1) return "none";
    return reply->get_params().params(0).value();
  }

  std::string directory;
  uint64_t level = 3;
  std::unique_ptr<NodeControl> control;
};

TEST_F(NodeControlTest, ParametersAreReadAndSetThroughTheSocket) {
  ASSERT_TRUE(Start().has_value());
  EXPECT_EQ(Level(), "3");
  const auto set = SetLevel("7");
  ASSERT_TRUE(set.has_value()) << set.error().ToString();
  EXPECT_EQ(set->set_param().names(0), "level");
  EXPECT_EQ(Level(), "7");
  EXPECT_EQ(SetLevel("10").error().code(), Errc::kInvalid);
  EXPECT_EQ(SetLevel("1", true).error().code(), Errc::kNotSupported) << "it keeps nothing";
  EXPECT_EQ(Level(), "7");
}

TEST_F(NodeControlTest, TheSocketGoesWithTheDaemonAndDeadOnesAreRefused) {
  ASSERT_TRUE(Start().has_value());
  const std::string socket = Socket();
  control->Stop();
  EXPECT_EQ(Socket(), "");
  EXPECT_EQ(AskDaemon(socket, {}).error().code(), Errc::kNoEntry);
}

TEST_F(NodeControlTest, SocketsOfDaemonsThatDiedAreRemovedByTheNext) {
  const std::string dead = directory + "/sheen-dead-1.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  dead.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  ASSERT_TRUE(Start().has_value());
  EXPECT_EQ(DaemonSockets().size(), 2u) << "one that lives was removed";
  ::close(fd);
  control.reset();
  ASSERT_TRUE(Start().has_value());
  EXPECT_EQ(DaemonSockets().size(), 1u);
  EXPECT_EQ(Level(), "3");
}

TEST_F(NodeControlTest, WhoSendsNonsenseIsCutOffAndOthersAreServed) {
  ASSERT_TRUE(Start().has_value());
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff"), std::string("\x02\0\0\0\xff\xff", 6), std::string("x")}) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    Socket().copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::send(fd, bytes.data(), bytes.size(), 0), std::ssize(bytes));
    ::shutdown(fd, SHUT_WR);
    char answer = 0;
    EXPECT_LE(::recv(fd, &answer, 1, 0), 0);
    ::close(fd);
  }
  EXPECT_EQ(Level(), "3");
}

TEST_F(NodeControlTest, KeptSettingsAreAppliedWhenTheyAreNewOrHaveChanged) {
  ASSERT_TRUE(Start().has_value());
  v1::ClusterMap map;
  v1::KeptParam* param = map.add_params();
  param->set_name("level");
  param->set_value("5");
  map.add_params()->set_name("of.another.daemon");
  control->ApplyKept(map);
  EXPECT_EQ(level, 5u);
  level = 6;  // set on this daemon since
  control->ApplyKept(map);
  EXPECT_EQ(level, 6u);
  param->set_value("8");
  control->ApplyKept(map);
  EXPECT_EQ(level, 8u);
}

TEST_F(NodeControlTest, MetricsAreServedOverHttp) {
  ASSERT_TRUE(Start("0").has_value());
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(control->metrics_port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(::send(fd, request.data(), request.size(), 0), std::ssize(request));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("\nmade_total 4\n"), std::string::npos) << answer;
}

TEST_F(NodeControlTest, WrongMetricsAddressesNameThemselves) {
  for (const char* wrong : {"x", "70000", "127.0.0.1:", "127.0.0.1:-1"}) {
    const Status started = Start(wrong);
    ASSERT_FALSE(started.has_value()) << wrong;
    EXPECT_EQ(started.error().code(), Errc::kInvalid);
    EXPECT_NE(started.error().message().find(wrong), std::string::npos);
  }
  const Status open = Start("0.0.0.0:0");
  ASSERT_FALSE(open.has_value());
  EXPECT_NE(open.error().message().find("--allow"), std::string::npos);
}

TEST_F(NodeControlTest, FaultPointsAreRefusedUntilThereAreSome) {
  ASSERT_TRUE(Start().has_value());
  v1::SetParamRequest request;
  request.set_pattern("fail_loc");
  request.set_value("server.executed.ost_write");
  EXPECT_EQ(control->Set(request).error().code(), Errc::kNotSupported);
}

TEST_F(NodeControlTest, AFaultPointIsNamedThenArmedThenListed) {
  rpc::FaultPoints faults(rpc::FaultNode::kOss);
  ASSERT_TRUE(Start().has_value());
  control->set_faults(&faults);
  const auto set = [this](const std::string& name, const std::string& value) {
    v1::SetParamRequest request;
    request.set_pattern(name);
    request.set_value(value);
    const auto done = control->Set(request);
    return done ? Errc::kOk : done.error().code();
  };
  EXPECT_EQ(set("fail_val", "drop"), Errc::kInvalid) << "nothing is named yet";
  EXPECT_EQ(set("fail_loc", "server.executed.mds_create"), Errc::kInvalid);
  ASSERT_EQ(set("fail_loc", "server.executed.ost_write"), Errc::kOk);
  EXPECT_EQ(set("fail_val", "error"), Errc::kInvalid) << "it has been executed";
  ASSERT_EQ(set("fail_val", "delay,ms=7,count=2"), Errc::kOk);
  v1::GetParamsRequest all;
  all.add_patterns("fault_points");
  const auto got = control->Get(all);
  ASSERT_TRUE(got.has_value());
  EXPECT_NE(got->params(0).value().find(
                "server.executed.ost_write hits=0 armed=delay,ms=7,count=2,skip=0"),
            std::string::npos);
  const auto hit = faults.Hit(rpc::FaultStep::kServerExecuted, rpc::Opcode::kOstWrite);
  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->delay_ms, 7U);
  ASSERT_EQ(set("fail_loc", "0"), Errc::kOk);
  EXPECT_FALSE(faults.Hit(rpc::FaultStep::kServerExecuted, rpc::Opcode::kOstWrite).has_value());
}

}  // namespace
}  // namespace sheen::apps
