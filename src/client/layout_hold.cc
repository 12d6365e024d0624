#include "client/layout_hold.h"

#include <chrono>

#include "base/log.h"
#include "client/convert.h"
#include "client/layout_lock.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kRenewLook = std::chrono::milliseconds(100);
// So long at most users of the file wait for one step that may not be getting on.
constexpr Nanos kRenewMax = std::chrono::seconds(25);

enum class HoldAct : uint8_t { kTake, kRenew, kRelease };

async::Task<Result<v1::LayoutHoldReply>> AskForHold(State* state, CredentialId who, Fid fid,
                                                    uint64_t handle, HoldAct act) {
  v1::LayoutHoldRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_handle(handle);
  request.set_renew(act == HoldAct::kRenew);
  request.set_release(act == HoldAct::kRelease);
  // Nothing is set aside: what this mount has in the way goes as everybody's does.
  rpc::Call call = MakeCall(rpc::Opcode::kMdsLayoutHold, who, request);
  auto answered = co_await MdsCall<v1::LayoutHoldReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(answered->reply);
}

async::Task<void> RenewUntil(State* state, Fid fid, uint64_t handle,
                             std::shared_ptr<std::atomic<bool>> ended) {
  const BackgroundMark mark(state);
  async::Shard* const shard = state->Here()->shard();
  const Nanos began = shard->Now();
  Nanos renewed = began;
  while (!*ended && !state->stopping && shard->Now() - began < kRenewMax) {
    co_await shard->Sleep(kRenewLook);
    if (*ended || shard->Now() - renewed < kRenewHoldEvery) continue;
    // What rests on a hold that has ended is refused by the MDS.
    if (const Status still = co_await RenewHold(state, fid, handle); !still) co_return;
    renewed = shard->Now();
  }
}

}  // namespace

async::Task<void> ReleaseHold(State* state, Fid fid, uint64_t handle) {
  const auto released = co_await AskForHold(state, 0, fid, handle, HoldAct::kRelease);
  if (released) co_return;
  SHEEN_LOG(Warn, "{}: its layout is held for some seconds more: {}", fid.ToString(),
            released.error().ToString());
}

async::Task<Status> RenewHold(State* state, Fid fid, uint64_t handle) {
  const auto renewed = co_await AskForHold(state, 0, fid, handle, HoldAct::kRenew);
  if (!renewed) co_return std::unexpected(renewed.error());
  co_return Status();
}

async::Task<Result<LayoutPtr>> TakeHold(State* state, CredentialId who, OpenFile* file,
                                        uint64_t handle) {
  SHEEN_CO_TRY_ASSIGN(const v1::LayoutHoldReply reply,
                      co_await AskForHold(state, who, file->fid(), handle, HoldAct::kTake));
  SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, LayoutFromWire(reply.layout()));
  if (!layout) co_return Fail(Errc::kProtocol, "mds0: a hold without a layout");
  DropLayoutLock(file);
  file->UpdateLayout(layout);
  file->layout_lock()->SetOwn(handle, layout);
  co_return layout;
}

HoldRenewal::HoldRenewal(State* state, Fid fid, uint64_t handle) {
  state->Here()->shard()->Spawn(RenewUntil(state, fid, handle, ended_));
}

}  // namespace sheen::client
