// AgentService: what one agent does. For OSSs (data plane) ranges of objects; for people (control
// plane) checks and imports.
//
// Thread-safe: Handle on any shard; the control calls on one shard, which also runs the imports.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "agent/importer.h"
#include "agent/links.h"
#include "base/stats.h"
#include "rpc/repositories.h"
#include "rpc/server.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::agent {

struct AgentOptions {
  async::BlockingPool* pool = nullptr;  // outlives the service
  ImportCalls mds;                      // of imports
  // Asks the MDS for the repositories now; blocks.
  std::function<Result<v1::ListRepositoriesReply>()> refresh;
  Nanos s3_timeout = std::chrono::seconds(60);  // of a request to S3 without progress
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
  // On the same shard, of the comparisons that the MDS orders: how far they are; begins those that
  // are due, ends those that are ordered no more, and forgets those whose end it has been told.
  std::vector<v1::ImportReport> ReportImports() const;
  void BeginDue(const v1::ListRepositoriesReply& all, const std::vector<v1::ImportReport>& told);

  // rpc::Service
  async::Task<rpc::Response> Handle(rpc::Request request) override;
  uint64_t LastCommitted(uint32_t /*target*/) const override { return 0; }

  // rpc::AgentControlService
  async::Task<Result<v1::CheckRepositoryReply>> CheckRepository(
      v1::CheckRepositoryRequest request) override;
  async::Task<Result<v1::StartImportReply>> StartImport(v1::StartImportRequest request) override;
  async::Task<Result<v1::ImportProgress>> GetImport(v1::GetImportRequest request) override;
  async::Task<Result<v1::ImportProgress>> CancelImport(v1::GetImportRequest request) override;
  async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AskObjectsRequest request) override;

 private:
  // Asks the MDS when it is not known. Errors: kNoEntry.
  async::Task<Result<LinkPointer>> LinkOf(uint32_t id);
  async::Task<Result<rpc::Response>> Fetch(const rpc::Request* request);
  async::Task<Result<rpc::Response>> FetchRange(const v1::AgentFetchRequest* body,
                                                s3::Haste* haste);
  Result<rpc::Response> Hasten(const rpc::Request& request);
  Result<Importer*> ImportOf(uint64_t task);
  // Errors: kBusy (too many).
  Result<uint64_t> Begin(ImporterOptions options);
  void CancelUnordered(const v1::ListRepositoriesReply& all);

  const AgentOptions options_;
  s3::HttpClient http_;
  Links links_;
  std::atomic<uint64_t> fetched_bytes_{0};
  std::atomic<uint64_t> fetches_{0};
  TallyTable operations_{{"fetch"}, {"fetch_failed"}, {"read_bytes", Unit::kBytes}};
  // Link, key, offset.
  using RangeKey = std::tuple<uint32_t, std::string, uint64_t>;
  std::mutex mutex_;  // guards what follows
  std::multimap<RangeKey, s3::Haste*> prefetches_;  // under way
  // Of the control calls' shard.
  std::map<uint64_t, std::unique_ptr<Importer>> imports_;
  uint64_t next_task_ = 1;
  std::map<uint32_t, uint64_t> ordered_;  // by the MDS: repository to task
  std::set<uint32_t> not_begun_;          // ordered, and in vain: told of in the log once
  bool stopping_ = false;
  s3::Cancellation questions_;  // of AskObjects: all of them, when the service ends
};

}  // namespace sheen::agent
