// Repositories: the MDS's side of data repositories in S3. The links (durable), the agents that
// have been heard of (memory), and the import of entries that agents have listed.
//
// Thread-safe: calls run on any shard of the server.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "mds/core.h"
#include "mds/import_schedule.h"
#include "rpc/repositories.h"

namespace sheen::mds {

class Repositories final : public rpc::RepositoryService {
 public:
  // An agent that was not heard of for so long gets no work.
  static constexpr Nanos kAgentTimeout = std::chrono::seconds(3);

  explicit Repositories(Core* core) : core_(core) {}

  // For what imports make.
  async::Task<Result<Fid>> NewFid();
  // Those that are up.
  std::vector<v1::AgentEntry> Agents() const;

  async::Task<Result<v1::AddRepositoryReply>> AddRepository(
      v1::AddRepositoryRequest request) override;
  async::Task<Result<v1::UpdateRepositoryReply>> UpdateRepository(
      v1::UpdateRepositoryRequest request) override;
  async::Task<Result<v1::RemoveRepositoryReply>> RemoveRepository(
      v1::RemoveRepositoryRequest request) override;
  async::Task<Result<v1::ListRepositoriesReply>> ListRepositories(
      v1::ListRepositoriesRequest request) override;
  async::Task<Result<v1::ImportEntriesReply>> ImportEntries(
      v1::ImportEntriesRequest request) override;
  async::Task<Result<v1::ListImportedReply>> ListImported(
      v1::ListImportedRequest request) override;
  async::Task<Result<v1::DropDeletedReply>> DropDeleted(v1::DropDeletedRequest request) override;
  async::Task<Result<v1::ListPendingReply>> ListPending(v1::ListPendingRequest request) override;
  async::Task<Result<v1::FinishPendingReply>> FinishPending(
      v1::FinishPendingRequest request) override;
  async::Task<Result<v1::ListRepositoriesReply>> AgentHeartbeat(
      v1::AgentHeartbeatRequest request) override;

 private:
  struct Heard {
    v1::AgentEntry agent;
    Nanos at{0};
  };
  // The directories of one import request, by path below `base`.
  struct Directories {
    Fid base;
    const v1::Repository* repository = nullptr;  // null: made by the link, not by an import
    bool skip_new = false;
    bool pending = false;
    std::map<std::string, Fid, std::less<>> known;
  };

  // After a restart: nobody knows yet what clients keep of what would be changed.
  async::Task<void> WaitForClients();
  // Absent names are not asked of S3 any more.
  async::Task<Status> EndUnlisted(uint32_t id);
  // `path` below the base, made where it is not there. "": the base. Empty: it was taken away here.
  async::Task<Result<Fid>> EnsureDirectory(std::string path, Directories* directories);
  async::Task<Result<v1::ImportWhat>> ImportOne(const v1::ImportEntry* entry,
                                                Directories* directories);
  // Those of the request that are to be imported.
  async::Task<Result<v1::ImportEntriesReply>> Probe(const v1::ImportEntriesRequest* request,
                                                    const v1::Repository* repository);
  // Takes away those that S3 has just as they are here.
  async::Task<Result<v1::ImportEntriesReply>> DropListed(const v1::ImportEntriesRequest* request,
                                                         const v1::Repository* repository);
  // True: the name is gone.
  async::Task<Result<bool>> Drop(const v1::DropOrder* order);
  async::Task<Result<v1::Repository>> FindRepository(uint32_t id, std::string path);
  // Takes away empty directories that imports have made below `directory`, and counts what stays.
  async::Task<Status> DropBelow(Fid directory, std::string prefix, uint32_t repository,
                                v1::RemoveRepositoryReply* counts);

  Core* const core_;
  ImportSchedule schedule_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, Heard> agents_;
  std::optional<Fid> next_fid_;
};

}  // namespace sheen::mds
