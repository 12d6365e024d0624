// The comparisons that the MDS orders of an agent, against the strict stub.
#include "agent/agent_service.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/s3_stub/stub.h"
#include "support/wait_poller.h"

namespace sheen::agent {
namespace {

class AgentServiceTest : public ::testing::Test {
 protected:
  AgentServiceTest() : stub_(s3_stub::StubOptions{}) {
    EXPECT_TRUE(stub_.Start("127.0.0.1", 0));
    stub_.AddBucket("bucket");
    ::setenv("AWS_ACCESS_KEY_ID", "stub-access-key", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "stub-secret-key", 1);
    v1::Repository* const repository = all_.add_repositories();
    repository->set_id(3);
    repository->set_bucket("bucket");
    repository->set_prefix("p/");
    repository->set_endpoint(stub_.url());
    repository->set_import_what(v1::IMPORT_NEW);
    repository->set_import_every_s(300);
    service_ = std::make_unique<AgentService>(AgentOptions{
        .pool = &pool_, .refresh = [this] { return Result<v1::ListRepositoriesReply>(all_); }});
  }
  ~AgentServiceTest() override { shard_.Await(Stop(service_.get())); }
  static async::Task<bool> Stop(AgentService* service) {
    co_await service->Stop();
    co_return true;
  }
  // As with an answer to a heartbeat.
  static async::Task<bool> Beat(AgentService* service, const v1::ListRepositoriesReply* all) {
    const std::vector<v1::ImportReport> told = service->ReportImports();
    service->links()->Set(*all);
    service->BeginDue(*all, told);
    co_return true;
  }
  static async::Task<bool> AwaitEnd(AgentService* service) {
    async::Shard* const shard = async::Shard::Current();
    const Nanos until = shard->Now() + std::chrono::seconds(30);
    bool done = false;
    while (!done && shard->Now() < until) {
      const std::vector<v1::ImportReport> reports = service->ReportImports();
      done = reports.size() == 1 && reports[0].progress().done();
      co_await shard->Sleep(std::chrono::milliseconds(5));
    }
    co_return done;
  }
  static async::Task<size_t> CountRunning(AgentService* service) {
    size_t running = 0;
    for (const v1::ImportReport& one : service->ReportImports()) running += !one.progress().done();
    co_return running;
  }

  s3_stub::Stub stub_;
  async::BlockingPool pool_{2};
  v1::ListRepositoriesReply all_;
  std::unique_ptr<AgentService> service_;
  ShardRunner shard_;
};

TEST_F(AgentServiceTest, AComparisonThatIsOrderedNoMoreEnds) {
  // S3 does not answer: by itself it would go on for a minute.
  stub_.AddFault({.kind = "slow", .operation = "list", .times = 0, .value = 600'000});
  v1::ListRepositoriesReply due = all_;
  due.add_imports_due(3);
  shard_.Await(Beat(service_.get(), &due));
  EXPECT_EQ(shard_.Await(CountRunning(service_.get())), 1U);
  shard_.Await(Beat(service_.get(), &all_));
  EXPECT_EQ(shard_.Await(CountRunning(service_.get())), 1U);
  all_.mutable_repositories(0)->set_import_every_s(0);
  shard_.Await(Beat(service_.get(), &all_));
  EXPECT_TRUE(shard_.Await(AwaitEnd(service_.get())));
}

}  // namespace
}  // namespace sheen::agent
