// Orders go to an agent that is there, to another when it ends, and are given up only when nothing
// moves for the whole patience.
#include "oss/agent_pool.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "async/sim_poller.h"
#include "rpc/server.h"
#include "rpc/sim_transport.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What an agent answers.
class FakeAgent final : public rpc::Service {
 public:
  explicit FakeAgent(async::Shard* shard) : shard_(shard) {}
  async::Task<rpc::Response> Handle(rpc::Request request) override {
    if (request.header.opcode == rpc::Opcode::kAgentHasten) {
      hastened.emplace_back();
      EXPECT_TRUE(hastened.back().ParseFromString(request.body));
      co_return rpc::Response{};
    }
    ++orders;
    v1::AgentFetchRequest body;
    EXPECT_TRUE(body.ParseFromString(request.body));
    asked.push_back(body);
    co_await shard_->Sleep(work);
    rpc::Response response;
    if (s3_is_away) co_return rpc::Response::Of(Error(Errc::kAgain, "503 SlowDown"));
    if (refuses) co_return rpc::Response::Of(Error(Errc::kStale, "was changed"));
    response.bulk = io::Buffer::Allocate(body.length());
    std::fill_n(response.bulk.data(), body.length(), std::byte{'s'});
    co_return std::move(response);
  }
  uint64_t LastCommitted(uint32_t /*target*/) const override { return 0; }

  Nanos work = milliseconds(30);
  bool refuses = false;
  bool s3_is_away = false;
  int orders = 0;
  std::vector<v1::AgentFetchRequest> asked;
  std::vector<v1::AgentHastenRequest> hastened;

 private:
  async::Shard* const shard_;
};

// One agent process; destroy it to end it.
struct AgentProcess {
  AgentProcess(rpc::SimNetwork* network, const std::string& agent_name)
      : name(agent_name),
        service(network->shard()),
        table({.fsname = "sheen", .server_name = agent_name, .boot = 1}, nullptr),
        server(network->shard(), &table, &service, {}),
        transport(network, agent_name) {
    listener =
        std::move(*transport.Listen({agent_name, 7992}, [this](std::unique_ptr<rpc::Link> link) {
          server.Accept(std::move(link));
        }));
  }
  AgentInfo Info(bool near = false) const { return {name, {{name, 7992}}, near}; }

  const std::string name;
  FakeAgent service;
  rpc::SessionTable table;
  rpc::Server server;
  rpc::SimTransport transport;
  std::unique_ptr<rpc::Listener> listener;
};

class AgentPoolTest : public ::testing::Test {
 protected:
  AgentPoolTest() { pool_.RegisterShard(&shard_, &transport_); }
  void TearDown() override {
    pool_.BeginStop();
    Run(Stopped());
    for (auto* agent : {&a_, &b_}) End(agent);
    async::RunFor(&shard_, seconds(20));
  }
  async::Task<bool> Stopped() {
    co_await pool_.StopOnShard();
    co_return true;
  }
  static async::Task<bool> Ended(rpc::Server* server) {
    co_await server->Stop();
    co_return true;
  }
  void End(std::unique_ptr<AgentProcess>* agent) {
    if (*agent == nullptr) return;
    network_.Kill((*agent)->name);
    Run(Ended(&(*agent)->server));
    agent->reset();
  }
  template <class T>
  static async::Task<void> Keep(async::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
  }
  template <class T>
  T Run(async::Task<T> task) {
    std::optional<T> out;
    Begin(std::move(task), &out);
    return Finish(&out);
  }
  template <class T>
  void Begin(async::Task<T> task, std::optional<T>* out) {
    auto holder = std::make_shared<async::Task<T>>(std::move(task));
    shard_.Post([this, holder, out] { shard_.Spawn(Keep(std::move(*holder), out)); });
  }
  template <class T>
  T Finish(std::optional<T>* out) {
    EXPECT_TRUE(async::RunUntil(
        &shard_, [&] { return out->has_value(); }, std::chrono::hours(10)));
    return std::move(**out);
  }
  using Fetched = Result<io::Buffer>;
  async::Task<Fetched> Order(uint32_t length = 1000) {
    return pool_.Fetch({.link = 1, .key = "k", .etag = "e", .offset = 0, .length = length});
  }

  async::Task<Fetched> Prefetch(uint64_t number) {
    return pool_.Fetch({.id = number, .link = 1, .key = "k", .etag = "e", .offset = number << 20,
                        .length = 1000, .urgency = Urgency::kRestore});
  }

  ManualClock clock_;
  async::SimPoller poller_{&clock_};
  async::Shard shard_{&poller_, &clock_};
  rpc::SimNetwork network_{&shard_, {}};
  rpc::SimTransport transport_{&network_, "oss0"};
  AgentPool pool_{"sheen"};
  std::unique_ptr<AgentProcess> a_;
  std::unique_ptr<AgentProcess> b_;
};

TEST_F(AgentPoolTest, AnAgentOnThisHostIsPreferredElseTheOneWithTheFewestOrders) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  pool_.SetAgents({a_->Info(), b_->Info(true)});
  for (int i = 0; i < 4; ++i) {
    const Fetched got = Run(Order());
    ASSERT_TRUE(got) << got.error().ToString();
    EXPECT_EQ(got->size(), 1000U);
  }
  EXPECT_EQ(a_->service.orders, 0);
  pool_.SetAgents({a_->Info(), b_->Info()});
  std::vector<std::optional<Fetched>> done(10);
  for (auto& one : done) Begin(Order(), &one);
  for (auto& one : done) EXPECT_TRUE(Finish(&one));
  EXPECT_EQ(a_->service.orders, 5);
}

TEST_F(AgentPoolTest, OrdersOfAnAgentThatEndsGoToAnotherAtOnce) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  a_->service.work = seconds(30);
  pool_.SetAgents({a_->Info(true), b_->Info()});
  std::optional<Fetched> done;
  Begin(Order(), &done);
  async::RunFor(&shard_, seconds(1));
  ASSERT_EQ(a_->service.orders, 1);
  const Nanos killed = clock_.Monotonic();
  network_.Kill("a");
  EXPECT_TRUE(Finish(&done));
  EXPECT_EQ(b_->service.orders, 1);
  EXPECT_LT(clock_.Monotonic() - killed, seconds(1));
}

TEST_F(AgentPoolTest, AnAgentThatIsNotNamedAnyMoreLosesItsOrders) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  a_->service.work = seconds(30);
  pool_.SetAgents({a_->Info(true), b_->Info()});
  std::optional<Fetched> done;
  Begin(Order(), &done);
  async::RunFor(&shard_, seconds(1));
  pool_.SetAgents({b_->Info()});
  EXPECT_TRUE(Finish(&done));
  EXPECT_EQ(b_->service.orders, 1);
}

TEST_F(AgentPoolTest, AnOrderThatIsHastenedIsTheAgentsToHurry) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  a_->service.work = seconds(1);
  pool_.SetAgents({a_->Info()});
  std::optional<Fetched> slow;
  std::optional<Fetched> hurried;
  Begin(Prefetch(7), &slow);
  Begin(Prefetch(8), &hurried);
  async::RunFor(&shard_, milliseconds(500));
  ASSERT_EQ(a_->service.asked.size(), 2U);
  EXPECT_TRUE(a_->service.asked[1].prefetch());
  shard_.Post([this] {
    pool_.Hasten(8);
    pool_.Hasten(8);
    pool_.Hasten(99);
  });
  async::RunFor(&shard_, milliseconds(100));
  ASSERT_EQ(a_->service.hastened.size(), 1U);
  EXPECT_EQ(a_->service.hastened[0].offset(), 8U << 20);
  EXPECT_EQ(a_->service.hastened[0].key(), "k");
  EXPECT_TRUE(Finish(&slow));
  EXPECT_TRUE(Finish(&hurried));
}

TEST_F(AgentPoolTest, AHastenedOrderThatMovesIsADemandAtTheNextAgent) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  a_->service.work = seconds(100);
  pool_.SetAgents({a_->Info(true), b_->Info()});
  std::optional<Fetched> got;
  Begin(Prefetch(3), &got);
  async::RunFor(&shard_, milliseconds(500));
  shard_.Post([this] { pool_.Hasten(3); });
  async::RunFor(&shard_, milliseconds(100));
  pool_.SetAgents({b_->Info()});
  ASSERT_TRUE(Finish(&got));
  ASSERT_EQ(b_->service.asked.size(), 1U);
  EXPECT_FALSE(b_->service.asked[0].prefetch());
}

TEST_F(AgentPoolTest, WhatS3SaysIsNotAskedOfAnother) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  a_->service.refuses = true;
  pool_.SetAgents({a_->Info(true), b_->Info()});
  const Fetched got = Run(Order());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Errc::kStale);
  EXPECT_EQ(b_->service.orders, 0);
}

TEST_F(AgentPoolTest, AnS3ThatDoesNotAnswerTheAgentIsToldAtOnceAndOfNoOther) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  a_->service.s3_is_away = b_->service.s3_is_away = true;
  pool_.SetAgents({a_->Info(), b_->Info()});
  for (int i = 0; i < 100; ++i) {
    const Nanos began = clock_.Monotonic();
    const Fetched got = Run(Order());
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code(), Errc::kAgain);
    EXPECT_LT(clock_.Monotonic() - began, seconds(5));
  }
  EXPECT_EQ(a_->service.orders + b_->service.orders, 100);
}

TEST_F(AgentPoolTest, WithoutAnAgentItIsGivenUpAfterThePatience) {
  pool_.SetPatience(seconds(7));
  const Nanos began = clock_.Monotonic();
  const Fetched got = Run(Order());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Errc::kUnavailable);
  EXPECT_NE(got.error().message().find("no agent is there"), std::string::npos);
  EXPECT_GE(clock_.Monotonic() - began, seconds(7));
  EXPECT_LT(clock_.Monotonic() - began, seconds(8));
}

TEST_F(AgentPoolTest, AnAgentThatComesInTimeIsFound) {
  std::optional<Fetched> done;
  Begin(Order(), &done);
  async::RunFor(&shard_, seconds(50));
  EXPECT_FALSE(done);
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  pool_.SetAgents({a_->Info()});
  EXPECT_TRUE(Finish(&done));
}

TEST_F(AgentPoolTest, WhoFindsNoAgentAsksForOneAndGoesOnWhenItIsKnown) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  a_->service.work = milliseconds(1);
  int asked = 0;
  // The answer takes a moment.
  pool_.OnWanted([&] {
    if (asked++ > 0) return;
    shard_.AddTimer(clock_.Monotonic() + milliseconds(3),
                    [this] { pool_.SetAgents({a_->Info()}); });
  });
  const Nanos began = clock_.Monotonic();
  EXPECT_TRUE(Run(Order()));
  EXPECT_LT(clock_.Monotonic() - began, milliseconds(50));
  EXPECT_GE(asked, 1);
  // Nobody asks while one serves.
  asked = 100;
  EXPECT_TRUE(Run(Order()));
  EXPECT_EQ(asked, 100);
}

TEST_F(AgentPoolTest, WhoseOnlyAgentDoesNotAnswerAsksForAnother) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  b_ = std::make_unique<AgentProcess>(&network_, "b");
  b_->service.work = milliseconds(1);
  pool_.SetAgents({a_->Info()});
  network_.Kill("a");
  pool_.OnWanted([&] { pool_.SetAgents({b_->Info()}); });
  EXPECT_TRUE(Run(Order()));
  EXPECT_EQ(b_->service.orders, 1);
}

TEST_F(AgentPoolTest, ALongQueueAtAnAgentIsNoReasonToGiveUp) {
  a_ = std::make_unique<AgentProcess>(&network_, "a");
  a_->service.work = seconds(200);
  pool_.SetAgents({a_->Info()});
  const Fetched got = Run(Order());
  EXPECT_TRUE(got) << got.error().ToString();
  EXPECT_EQ(a_->service.orders, 1);
}

TEST_F(AgentPoolTest, WhoStopsIsToldSoAtOnce) {
  std::optional<Fetched> done;
  Begin(Order(), &done);
  async::RunFor(&shard_, seconds(1));
  pool_.BeginStop();
  const Nanos began = clock_.Monotonic();
  const Fetched got = Finish(&done);
  EXPECT_EQ(got.error().code(), Errc::kUnavailable);
  EXPECT_LT(clock_.Monotonic() - began, seconds(1));
}

}  // namespace
}  // namespace sheen::oss
