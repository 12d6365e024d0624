// Adapters from the generated services of data repositories to the interfaces of repositories.h.
//
// Thread-safe.
#pragma once

#include "async/shard.h"
#include "rpc/grpc_services.h"
#include "rpc/repositories.h"
#include "sheen/v1/control.grpc.pb.h"

namespace sheen::rpc {

class RepositoriesAdapter final : public v1::Repositories::CallbackService {
 public:
  RepositoriesAdapter(ControlCalls* calls, RepositoryService* service, async::Shard* shard)
      : calls_(calls), service_(service), shard_(shard) {}
  grpc::ServerUnaryReactor* AddRepository(grpc::CallbackServerContext* context,
                                          const v1::AddRepositoryRequest* request,
                                          v1::AddRepositoryReply* reply) override;
  grpc::ServerUnaryReactor* UpdateRepository(grpc::CallbackServerContext* context,
                                             const v1::UpdateRepositoryRequest* request,
                                             v1::UpdateRepositoryReply* reply) override;
  grpc::ServerUnaryReactor* RemoveRepository(grpc::CallbackServerContext* context,
                                             const v1::RemoveRepositoryRequest* request,
                                             v1::RemoveRepositoryReply* reply) override;
  grpc::ServerUnaryReactor* ListRepositories(grpc::CallbackServerContext* context,
                                             const v1::ListRepositoriesRequest* request,
                                             v1::ListRepositoriesReply* reply) override;
  grpc::ServerUnaryReactor* ImportEntries(grpc::CallbackServerContext* context,
                                          const v1::ImportEntriesRequest* request,
                                          v1::ImportEntriesReply* reply) override;
  grpc::ServerUnaryReactor* ListImported(grpc::CallbackServerContext* context,
                                         const v1::ListImportedRequest* request,
                                         v1::ListImportedReply* reply) override;
  grpc::ServerUnaryReactor* DropDeleted(grpc::CallbackServerContext* context,
                                        const v1::DropDeletedRequest* request,
                                        v1::DropDeletedReply* reply) override;
  grpc::ServerUnaryReactor* ListPending(grpc::CallbackServerContext* context,
                                        const v1::ListPendingRequest* request,
                                        v1::ListPendingReply* reply) override;
  grpc::ServerUnaryReactor* FinishPending(grpc::CallbackServerContext* context,
                                          const v1::FinishPendingRequest* request,
                                          v1::FinishPendingReply* reply) override;
  grpc::ServerUnaryReactor* AgentHeartbeat(grpc::CallbackServerContext* context,
                                           const v1::AgentHeartbeatRequest* request,
                                           v1::ListRepositoriesReply* reply) override;

 private:
  ControlCalls* const calls_;
  RepositoryService* const service_;
  async::Shard* const shard_;
};

class AgentControlAdapter final : public v1::AgentControl::CallbackService {
 public:
  AgentControlAdapter(ControlCalls* calls, AgentControlService* service, async::Shard* shard)
      : calls_(calls), service_(service), shard_(shard) {}
  grpc::ServerUnaryReactor* CheckRepository(grpc::CallbackServerContext* context,
                                            const v1::CheckRepositoryRequest* request,
                                            v1::CheckRepositoryReply* reply) override;
  grpc::ServerUnaryReactor* StartImport(grpc::CallbackServerContext* context,
                                        const v1::StartImportRequest* request,
                                        v1::StartImportReply* reply) override;
  grpc::ServerUnaryReactor* GetImport(grpc::CallbackServerContext* context,
                                      const v1::GetImportRequest* request,
                                      v1::ImportProgress* reply) override;
  grpc::ServerUnaryReactor* CancelImport(grpc::CallbackServerContext* context,
                                         const v1::GetImportRequest* request,
                                         v1::ImportProgress* reply) override;
  grpc::ServerUnaryReactor* AskObjects(grpc::CallbackServerContext* context,
                                       const v1::AskObjectsRequest* request,
                                       v1::AskObjectsReply* reply) override;

 private:
  ControlCalls* const calls_;
  AgentControlService* const service_;
  async::Shard* const shard_;
};

}  // namespace sheen::rpc
