// Data repositories over gRPC: callers of the MDS and of agents, and the adapters that serve them.
// No gRPC header is needed to include this one.
//
// The callers block: from an own thread or a BlockingPool, never on a shard. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "rpc/address.h"
#include "rpc/repositories.h"

namespace sheen::rpc {

// To the MDS's control address.
class RepositoryClient final {
 public:
  explicit RepositoryClient(Address address, Nanos call_timeout = std::chrono::seconds(10));
  ~RepositoryClient();
  // The calls under way end at once, and later ones do (kCancelled). Does not wait. Thread-safe.
  void BeginStop();
  Result<v1::AddRepositoryReply> AddRepository(const v1::AddRepositoryRequest& request);
  Result<v1::UpdateRepositoryReply> UpdateRepository(const v1::UpdateRepositoryRequest& request);
  Result<v1::RemoveRepositoryReply> RemoveRepository(const v1::RemoveRepositoryRequest& request);
  Result<v1::ListRepositoriesReply> ListRepositories();
  Result<v1::ImportEntriesReply> ImportEntries(const v1::ImportEntriesRequest& request);
  Result<v1::ListImportedReply> ListImported(const v1::ListImportedRequest& request);
  Result<v1::DropDeletedReply> DropDeleted(const v1::DropDeletedRequest& request);
  Result<v1::ListPendingReply> ListPending(const v1::ListPendingRequest& request);
  Result<v1::FinishPendingReply> FinishPending(const v1::FinishPendingRequest& request);
  Result<v1::ListRepositoriesReply> AgentHeartbeat(const v1::AgentHeartbeatRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// To an agent's control address.
class AgentControlClient final {
 public:
  explicit AgentControlClient(Address address, Nanos call_timeout = std::chrono::seconds(30));
  ~AgentControlClient();
  Result<v1::CheckRepositoryReply> CheckRepository(const v1::CheckRepositoryRequest& request);
  Result<v1::StartImportReply> StartImport(const v1::StartImportRequest& request);
  Result<v1::ImportProgress> GetImport(const v1::GetImportRequest& request);
  Result<v1::ImportProgress> CancelImport(const v1::GetImportRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sheen::rpc
