// How an import asks the MDS. Internal to Importer.
#pragma once

#include "agent/importer.h"
#include "async/blocking_pool.h"
#include "async/shard.h"

namespace sheen::agent {

// While the MDS is away it is asked again for so long.
inline constexpr Nanos kMdsPatience = std::chrono::seconds(120);
inline constexpr Nanos kMdsRetry = std::chrono::milliseconds(500);

template <class Request, class Reply>
async::Task<Result<Reply>> Importer::Ask(
    const std::function<Result<Reply>(const Request&)>* call, const Request* request) {
  const Nanos until = async::Shard::Current()->Now() + kMdsPatience;
  for (;;) {
    std::function<Result<Reply>()> once = [call, request] { return (*call)(*request); };
    Result<Reply> reply = co_await options_.pool->Run<Result<Reply>>(std::move(once));
    const bool again = !reply && reply.error().error_class() != ErrClass::kFail &&
                       async::Shard::Current()->Now() < until && !stop_.cancelled();
    if (!again) co_return reply;
    co_await async::Shard::Current()->Sleep(kMdsRetry);
  }
}

}  // namespace sheen::agent
