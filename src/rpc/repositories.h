// The control plane of data repositories (S3) as a seam: what people and agents ask of the MDS, and
// what people ask of an agent. grpc_repositories.{h,cc} is the real thing on both sides.
#pragma once

#include <functional>

#include "async/task.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::rpc {

// Implemented by src/mds; called on one of its shards.
class RepositoryService {
 public:
  virtual ~RepositoryService() = default;
  // Survives power loss when it is answered. Errors: kExists (overlaps another), kInvalid.
  virtual async::Task<Result<v1::AddRepositoryReply>> AddRepository(
      v1::AddRepositoryRequest request) = 0;
  // Survives power loss when it is answered. Errors: kNoEntry, kExists, kInvalid.
  virtual async::Task<Result<v1::UpdateRepositoryReply>> UpdateRepository(
      v1::UpdateRepositoryRequest request) = 0;
  // Files whose data is not here are unusable afterwards. Errors: kNoEntry.
  virtual async::Task<Result<v1::RemoveRepositoryReply>> RemoveRepository(
      v1::RemoveRepositoryRequest request) = 0;
  virtual async::Task<Result<v1::ListRepositoriesReply>> ListRepositories(
      v1::ListRepositoriesRequest request) = 0;
  // Each entry by itself: what cannot be is in the answer. Errors: kNoEntry (no such repository).
  virtual async::Task<Result<v1::ImportEntriesReply>> ImportEntries(
      v1::ImportEntriesRequest request) = 0;
  // What imports have made in a directory, page by page. Errors: kNoEntry.
  virtual async::Task<Result<v1::ListImportedReply>> ListImported(
      v1::ListImportedRequest request) = 0;
  // Takes away names whose objects are gone, if nothing of them was changed here.
  virtual async::Task<Result<v1::DropDeletedReply>> DropDeleted(
      v1::DropDeletedRequest request) = 0;
  // Names that are still to be asked for, page by page. Errors: kNoEntry.
  virtual async::Task<Result<v1::ListPendingReply>> ListPending(v1::ListPendingRequest request) = 0;
  // What S3 says of them: each by itself; what cannot be is in the answer.
  virtual async::Task<Result<v1::FinishPendingReply>> FinishPending(
      v1::FinishPendingRequest request) = 0;
  // An agent is there; the answer says which repositories there are.
  virtual async::Task<Result<v1::ListRepositoriesReply>> AgentHeartbeat(
      v1::AgentHeartbeatRequest request) = 0;
};

// Implemented by src/agent; called on one of its shards.
class AgentControlService {
 public:
  virtual ~AgentControlService() = default;
  // Tells what would keep the repository from working. Errors: s3::Client::CheckBucket's.
  virtual async::Task<Result<v1::CheckRepositoryReply>> CheckRepository(
      v1::CheckRepositoryRequest request) = 0;
  virtual async::Task<Result<v1::StartImportReply>> StartImport(v1::StartImportRequest request) = 0;
  virtual async::Task<Result<v1::ImportProgress>> GetImport(v1::GetImportRequest request) = 0;
  virtual async::Task<Result<v1::ImportProgress>> CancelImport(v1::GetImportRequest request) = 0;
  // A HEAD of each key now. Errors: kNoEntry (no such repository).
  virtual async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AskObjectsRequest request) = 0;
};

// What the MDS asks of agents (GrpcAgentCalls is the real thing). Thread-safe; awaited on the
// caller's shard.
class AgentCalls {
 public:
  virtual ~AgentCalls() = default;
  // `wanted` is asked several times a second, on the caller's shard: when it says no the call ends.
  // Errors: kUnavailable (not reachable, or ended so), the agent's own.
  virtual async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AgentEntry agent,
                                                              v1::AskObjectsRequest request,
                                                              std::function<bool()> wanted) = 0;
};

}  // namespace sheen::rpc
