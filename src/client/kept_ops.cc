// What is done with KeptWrites while servers run: see kept_writes.h; after a restart: replay.cc.
#include "base/log.h"
#include "client/shard_context.h"
#include "client/state.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {
namespace {

// Servers commit every second: what is older was not heard of, since nothing was asked.
constexpr Nanos kOld = std::chrono::seconds(2);
constexpr Nanos kLook = std::chrono::milliseconds(100);
constexpr size_t kFilesNamed = 8;  // in one line of the log

}  // namespace

void ShardContext::KeepRequest(const rpc::Call& call, const rpc::Answer& answer) {
  if (!state_->options.recovery) return;
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

void ShardContext::NoteUnkept(const std::string& server) {
  if (state_->options.recovery || state_->unkept_lost.exchange(true)) return;
  SHEEN_LOG(Warn,
            "{} has restarted, and this mount keeps nothing (recovery=off): what was written may "
            "be lost; every fsync says so until it is mounted anew",
            server);
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
  if (!state_->options.recovery) return;
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
  write.file = call.file;
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

async::Task<Status> ShardContext::CommitOst(uint32_t ost) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstSync, 0, v1::OstSyncRequest());
  const auto answer = co_await Ost(ost, std::move(call));
  // Its last_committed has been taken.
  if (!answer) co_return std::unexpected(answer.error());
  co_return Status();
}

// Only this target's: another one may be away.
async::Task<void> ShardContext::AwaitKeptRoom(uint32_t ost) {
  while (state_->kept_writes.bytes() > state_->options.kept_bytes_max && !state_->stopping) {
    const uint64_t before = state_->kept_writes.BytesOf(ost);
    if (before == 0) co_return;
    const Status committed = co_await CommitOst(ost);
    // Of a target that has stopped serving, say: its writers hear of it themselves.
    static_cast<void>(committed);
    if (state_->kept_writes.BytesOf(ost) >= before) co_return;
  }
}

async::Task<void> ShardContext::WatchKept() {
  const BackgroundMark mark(state_);
  do {
    co_await shard_->Sleep(kLook);
    const Nanos old = state_->unmounting ? Nanos(0) : kOld;
    for (const uint32_t ost : state_->kept_writes.OlderThan(shard_->Now() - old)) {
      // Each by itself: one server may be away while another is asked.
      if (committing_.insert(ost).second) shard_->Spawn(CommitOld(ost));
    }
  } while (!state_->kept_writes.StopWatching() && !state_->stopping);
}

async::Task<void> ShardContext::CommitOld(uint32_t ost) {
  const BackgroundMark mark(state_);
  const Status committed = co_await CommitOst(ost);
  committing_.erase(ost);
  if (committed || !state_->unmounting || state_->stopping) co_return;
  // It was asked while it could be, and nobody asks again: its writers have heard of what failed.
  SHEEN_LOG(Error, "unmount: {}: {}; not waited for", KeptFilesText(state_->kept_writes, ost),
            committed.error().ToString());
  state_->kept_writes.DropAll(ost);
  state_->gave_up = true;
}

std::string KeptFilesText(const KeptWrites& kept, std::optional<uint32_t> only) {
  std::string text;
  for (const auto& [ost, files] : kept.Files()) {
    if (only && *only != ost) continue;
    uint64_t bytes = 0;
    std::string names;
    size_t named = 0;
    for (const auto& [fid, size] : files) {
      bytes += size;
      if (named++ < kFilesNamed) names += (names.empty() ? "" : ", ") + fid.ToString();
    }
    if (files.size() > kFilesNamed) names += ", ...";
    text += (text.empty() ? "" : "; ") + std::to_string(bytes) + " bytes of " +
            std::to_string(files.size()) + " files (" + names +
            ") that were written to OST " + std::to_string(ost) +
            " and that it has not said to be on its disk";
  }
  return text;
}

}  // namespace sheen::client
