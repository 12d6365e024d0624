// What is done with KeptWrites while servers run: see kept_writes.h; after a restart: replay.cc.
#include "client/shard_context.h"
#include "client/state.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {
namespace {

// Servers commit every second: what is older was not heard of, since nothing was asked.
constexpr Nanos kOld = std::chrono::seconds(2);
constexpr Nanos kLook = std::chrono::milliseconds(100);

}  // namespace

void ShardContext::KeepRequest(const rpc::Call& call, const rpc::Answer& answer) {
  if (answer.transno <= answer.last_committed || !rpc::IsMutating(call.opcode)) return;
  state_->kept_requests.Keep({.opcode = call.opcode,
                              .credential = call.credential,
                              .slot = answer.slot,
                              .xid = answer.xid,
                              .transno = answer.transno,
                              .body = call.body,
                              .reply = answer.body},
                             answer.last_committed);
}

async::Task<Status> ShardContext::CommitMds(Nanos deadline) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSync, 0, v1::MdsSyncRequest());
  call.deadline = deadline;
  const Result<rpc::Answer> answer = co_await Mds(std::move(call));
  if (!answer) co_return std::unexpected(answer.error());
  state_->kept_requests.Committed(answer->last_committed);
  co_return Status();
}

void ShardContext::KeepWrite(const std::string& server, uint32_t ost, const rpc::Call& call,
                             const rpc::Answer& answer) {
  state_->kept_writes.Committed(ost, answer.last_committed);
  if (answer.transno <= answer.last_committed || !rpc::IsMutating(call.opcode)) return;
  const rpc::ServerSession session = state_->identity.Session(server);
  if ((session.features & rpc::kKeptWrites) == 0) return;
  KeptWrite write;
  write.opcode = call.opcode;
  write.ost = ost;
  write.boot = answer.boot;
  write.transno = answer.transno;
  write.xid = answer.xid;
  write.slot = answer.slot;
  write.since = shard_->Now();
  write.body = call.body;
  write.reply = answer.body;
  write.owner = call.bulk_owner;
  write.bytes = call.bulk;
  // A chunk that is less than half full is not worth its buffer.
  if (write.owner && call.bulk.size() < HeldWrites::kChunkBytes / 2) write.owner.reset();
  if (!write.owner && !call.bulk.empty()) {
    write.owner = state_->kept_writes.Copy(call.bulk, &write.bytes);
  }
  state_->kept_writes.Keep(std::move(write), answer.last_committed);
  if (state_->kept_writes.StartWatching()) shard_->Spawn(WatchKept());
}

async::Task<void> ShardContext::CommitOst(uint32_t ost) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstSync, 0, v1::OstSyncRequest());
  const auto answer = co_await Ost(ost, std::move(call));
  // Its last_committed has been taken; an error is for whoever syncs.
  static_cast<void>(answer);
}

// Only this target's: another one may be away.
async::Task<void> ShardContext::AwaitKeptRoom(uint32_t ost) {
  while (state_->kept_writes.bytes() > state_->options.kept_bytes_max && !state_->stopping) {
    const uint64_t before = state_->kept_writes.BytesOf(ost);
    if (before == 0) co_return;
    co_await CommitOst(ost);
    // Of a target that has stopped serving, say: its writers hear of it themselves.
    if (state_->kept_writes.BytesOf(ost) >= before) co_return;
  }
}

async::Task<void> ShardContext::WatchKept() {
  const BackgroundMark mark(state_);
  do {
    co_await shard_->Sleep(kLook);
    const Nanos old = state_->unmounting ? Nanos(0) : kOld;
    for (const uint32_t ost : state_->kept_writes.OlderThan(shard_->Now() - old)) {
      co_await CommitOst(ost);
    }
  } while (!state_->kept_writes.StopWatching() && !state_->stopping);
}

}  // namespace sheen::client
