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
#include "rpc/repositories.h"

namespace sheen::mds {

class Repositories final : public rpc::RepositoryService {
 public:
  // An agent that was not heard of for so long gets no work.
  static constexpr Nanos kAgentTimeout = std::chrono::seconds(3);

  explicit Repositories(Core* core) : core_(core) {}

  // Those that are up.
  std::vector<v1::AgentEntry> Agents() const;

  async::Task<Result<v1::AddRepositoryReply>> AddRepository(
      v1::AddRepositoryRequest request) override;
  async::Task<Result<v1::RemoveRepositoryReply>> RemoveRepository(
      v1::RemoveRepositoryRequest request) override;
  async::Task<Result<v1::ListRepositoriesReply>> ListRepositories(
      v1::ListRepositoriesRequest request) override;
  async::Task<Result<v1::ImportEntriesReply>> ImportEntries(
      v1::ImportEntriesRequest request) override;
  async::Task<Result<v1::ListRepositoriesReply>> AgentHeartbeat(
      v1::AgentHeartbeatRequest request) override;

 private:
  struct Heard {
    v1::AgentEntry agent;
    Nanos at{0};
  };
  // The directories of one import request, by path.
  using Directories = std::map<std::string, Fid, std::less<>>;

  async::Task<Result<Fid>> NewFid();
  // `path` below `base`, made where it is not there. "": the base.
  async::Task<Result<Fid>> EnsureDirectory(Fid base, std::string path, Directories* known);
  async::Task<Result<v1::ImportWhat>> ImportOne(const v1::Repository* repository,
                                                const v1::ImportEntry* entry, Directories* known);

  Core* const core_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, Heard> agents_;
  std::optional<Fid> next_fid_;
};

}  // namespace sheen::mds
