// AgentService: what one agent does. For OSSs (data plane) ranges of objects; for people (control
// plane) checks and imports.
//
// Thread-safe: Handle on any shard; the control calls on one shard, which also runs the imports.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/importer.h"
#include "agent/links.h"
#include "base/stats.h"
#include "rpc/repositories.h"
#include "rpc/server.h"

namespace sheen::agent {

struct AgentOptions {
  async::BlockingPool* pool = nullptr;  // outlives the service
  ImportFunction import;                // to the MDS; blocks
  // Asks the MDS for the repositories now; blocks.
  std::function<Result<v1::ListRepositoriesReply>()> refresh;
};

class AgentService final : public rpc::Service, public rpc::AgentControlService {
 public:
  explicit AgentService(AgentOptions options);
  ~AgentService() override;

  Links* links() { return &links_; }
  uint64_t fetched_bytes() const { return fetched_bytes_.load(std::memory_order_relaxed); }
  uint64_t fetches() const { return fetches_.load(std::memory_order_relaxed); }
  // What OSSs asked for: "fetch" from a request's arrival to its answer, the bytes as "read_bytes",
  // and those that failed as "fetch_failed".
  const TallyTable& operations() const { return operations_; }
  void ClearStats(int64_t now_ns) { operations_.Clear(now_ns); }
  // Of the requests to S3 of a link, imports among them.
  s3::LinkCounters CountersOf(const Link& link) const { return http_.Counters(link.client.link()); }
  // On the shard of the control calls: ends the imports.
  async::Task<void> Stop();

  // rpc::Service
  async::Task<rpc::Response> Handle(rpc::Request request) override;
  uint64_t LastCommitted(uint32_t /*target*/) const override { return 0; }

  // rpc::AgentControlService
  async::Task<Result<v1::CheckRepositoryReply>> CheckRepository(
      v1::CheckRepositoryRequest request) override;
  async::Task<Result<v1::StartImportReply>> StartImport(v1::StartImportRequest request) override;
  async::Task<Result<v1::ImportProgress>> GetImport(v1::GetImportRequest request) override;
  async::Task<Result<v1::ImportProgress>> CancelImport(v1::GetImportRequest request) override;

 private:
  // Asks the MDS when it is not known. Errors: kNoEntry.
  async::Task<Result<LinkPointer>> LinkOf(uint32_t id);
  async::Task<Result<rpc::Response>> Fetch(const rpc::Request* request);
  Result<Importer*> ImportOf(uint64_t task);

  const AgentOptions options_;
  s3::HttpClient http_;
  Links links_;
  std::atomic<uint64_t> fetched_bytes_{0};
  std::atomic<uint64_t> fetches_{0};
  TallyTable operations_{{"fetch"}, {"fetch_failed"}, {"read_bytes", Unit::kBytes}};
  // Of the control calls' shard.
  std::map<uint64_t, std::unique_ptr<Importer>> imports_;
  uint64_t next_task_ = 1;
};

}  // namespace sheen::agent
