// The changelog: what `lfs changelog` and `lfs changelog_clear` ask.

#include "client/convert.h"
#include "client/state.h"

namespace sheen::client {

async::Task<Result<v1::ReadChangelogReply>> Filesystem::ReadChangelog(
    CredentialId who, v1::ReadChangelogRequest request) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReadChangelog, who, request);
  auto answered = co_await MdsCall<v1::ReadChangelogReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(answered->reply);
}

async::Task<Status> Filesystem::ClearChangelog(CredentialId who,
                                               v1::ClearChangelogRequest request) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsClearChangelog, who, request);
  auto answered = co_await MdsCall<v1::ClearChangelogReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return Status();
}

}  // namespace sheen::client
