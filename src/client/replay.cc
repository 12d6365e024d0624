// What a server that has restarted is told again before anything else: the requests that it had
// answered and not committed (kept_requests.h, kept_writes.h).
//
// Whatever is kept is replayed; that a server of today's boot answered it is the only proof that it
// is not lost. What was not lost after all is answered from the reply slot, or written once more.
#include "client/replay.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "async/sync.h"
#include "base/log.h"
#include "client/convert.h"
#include "client/shard_context.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(1);
constexpr Nanos kReplayCallTimeout = std::chrono::seconds(60);

// Handles that the replays opened, less those that they closed.
class ReplayedHandles final {
 public:
  void Note(const KeptRequest& request) {
    if (request.opcode == rpc::Opcode::kMdsCreate) {
      v1::CreateRequest create;
      v1::CreateReply reply;
      if (!create.ParseFromString(request.body) || !reply.ParseFromString(request.reply)) return;
      open_[create.handle()] = FidFromWire(reply.attr().fid());
    } else if (request.opcode == rpc::Opcode::kMdsOpen) {
      v1::OpenRequest open;
      if (open.ParseFromString(request.body)) open_[open.handle()] = FidFromWire(open.fid());
    } else if (request.opcode == rpc::Opcode::kMdsClose) {
      v1::CloseRequest close;
      if (close.ParseFromString(request.body)) open_.erase(close.handle());
    }
  }
  // Those that nobody here has open any more: their closes changed nothing that had to be kept.
  std::vector<std::pair<uint64_t, Fid>> Closed(const OpenTable& files) const {
    std::vector<std::pair<uint64_t, Fid>> closed;
    for (const auto& [handle, fid] : open_) {
      const std::shared_ptr<OpenFile> file = files.Find(fid);
      const auto handles = file ? file->handles() : std::vector<OpenHandle>();
      if (std::ranges::find(handles, handle, &OpenHandle::id) == handles.end()) {
        closed.emplace_back(handle, fid);
      }
    }
    return closed;
  }

 private:
  std::map<uint64_t, Fid> open_;
};

// The connection has ended, or the server does not answer: all that is left is for the next replay.
bool EndsReplay(Errc code) {
  return code == Errc::kDisconnected || code == Errc::kTimedOut || code == Errc::kCancelled;
}

// Under the object's name, with offsets in the object.
std::string SaveObjectBytes(State* state, const KeptWrite& write) {
  v1::OstWriteRequest request;
  if (!request.ParseFromString(write.body)) return "";
  const std::string object = write.file.ToString() + ".stripe" +
                             std::to_string(request.object().stripe()) + ".OST" +
                             std::to_string(write.ost);
  return state->lost_data.Save(object, request.offset(), write.bytes, write.owner);
}

// A write that cannot be repeated: the next fsync of the file says so, or its next open.
void TellLost(State* state, const KeptWrite& write, const std::string& server, const Error& why) {
  const Fid fid = write.file;
  const std::string saved = SaveObjectBytes(state, write);
  SHEEN_LOG(Error,
            "{}: {} bytes that were written to OST {} before {} restarted may be lost: {}; the "
            "next fsync or open of the file tells{}",
            fid.ToString(), write.bytes.size(), write.ost, server, why.ToString(), saved);
  const Error lost(Errc::kIo, server + " restarted and could not be given again what was written");
  if (const std::shared_ptr<OpenFile> file = state->files.Find(fid)) {
    file->held()->SetError(lost);
  } else {
    state->late_errors.Put(fid, lost);
  }
  state->kernel.DataLost(fid, 0, INT64_MAX);
}

// A change that was answered and cannot be made again. What it was about: v1::LockedRequest.
void TellLostChange(State* state, const KeptRequest& request, const Error& why) {
  SHEEN_LOG(Error,
            "mds0 has lost a {} that it had answered, and cannot repeat it: {}; the next fsync of "
            "the file or directory tells",
            rpc::NameOf(request.opcode), why.ToString());
  // These change nothing that anybody was told.
  if (request.opcode == rpc::Opcode::kMdsOpen || request.opcode == rpc::Opcode::kMdsClose) return;
  const Error lost(Errc::kIo, "mds0 restarted and has lost a " +
                                  std::string(rpc::NameOf(request.opcode)) +
                                  " that could not be made again: " + why.ToString());
  v1::LockedRequest about;
  if (!about.ParseFromString(request.body)) return;
  for (const v1::Fid& fid : about.set_aside()) state->lost_changes.Put(FidFromWire(fid), lost);
}

}  // namespace

void LoseKeptRequests(State* state) {
  const rpc::ServerSession session = state->identity.Session(kMdsName);
  KeptRequests* const kept = &state->kept_requests;
  kept->Committed(session.recovered_transno);
  // What this boot has answered it has.
  for (const KeptRequests::Key& key : kept->ToReplay(session.server_boot)) {
    const std::optional<KeptRequest> request = kept->Find(key);
    if (!request) continue;
    TellLostChange(state, *request, Error(Errc::kEvicted, "it has ended this client's session"));
  }
  kept->Clear();
}

bool ShardContext::EndEarlierBoot(const std::string& server, uint64_t boot) {
  const auto found = clients_.find(server);
  return found != clients_.end() && found->second->EndEarlierBoot(boot);
}

// Answers of the time before may still lie in the sockets of other shards, where the end of a
// machine without power is not heard of: they are not read any more, their requests are sent again.
async::Task<void> ShardContext::AwaitEndOfBoot(std::string server, uint64_t boot) {
  for (const std::unique_ptr<ShardContext>& context : state_->contexts) {
    if (!context || context.get() == this) continue;
    ShardContext* const other = context.get();
    for (bool ended = false; !ended && !state_->stopping;) {
      const auto looked = std::make_shared<std::atomic<int>>(-1);
      other->shard_->Post([other, server, boot, looked] {
        looked->store(other->EndEarlierBoot(server, boot) ? 0 : 1);
      });
      while (looked->load() < 0 && !state_->stopping) co_await shard_->Sleep(kLook);
      ended = looked->load() == 1;
      if (!ended) co_await shard_->Sleep(kLook);
    }
  }
}

// One after the other: each may need what the one before it did.
async::Task<bool> ShardContext::ReplayMds() {
  state_->replay_unfinished = true;
  state_->replaying_mds = true;
  const bool done = co_await ReplayRequests();
  state_->replaying_mds = false;
  if (done) state_->replay_unfinished = false;
  // Else ordinary requests would go on without it.
  if (!done) mds_->EndConnection("what it had lost could not be repeated in time");
  co_return done;
}

async::Task<bool> ShardContext::ReplayRequests() {
  const rpc::ServerSession before = state_->identity.Session(kMdsName);
  co_await AwaitEndOfBoot(kMdsName, before.server_boot);
  // It may have restarted since: that boot has lost what this one has been told. Or it has ended
  // the session, with the slots by which it knows what it has executed.
  const rpc::ServerSession session = state_->identity.Session(kMdsName);
  if (session.server_boot != before.server_boot) co_return false;
  if (session.session_id != before.session_id) co_return false;
  state_->kept_requests.Committed(session.recovered_transno);
  KeptRequests* const kept = &state_->kept_requests;
  size_t repeated = 0;
  ReplayedHandles handles;
  // Of this boot already are others: the connection ended, the server did not.
  for (const KeptRequests::Key& key : kept->ToReplay(session.server_boot)) {
    const std::optional<KeptRequest> request = kept->Find(key);
    if (!request) continue;
    rpc::Call call;
    call.opcode = request->opcode;
    call.credential = request->credential;
    call.body = ReplayBody(*request);
    call.replay_xid = request->xid;
    call.replay_slot = request->slot;
    call.deadline = shard_->Now() + kReplayCallTimeout;
    const Result<rpc::Answer> answer = co_await mds_->Execute(std::move(call));
    if (answer) {
      handles.Note(*request);
      // Else the boot found it, and made all that it found durable.
      const bool again = answer->transno >> kBootShift == session.server_boot;
      if (again) kept->Repeated(key, answer->transno);
      if (!again) kept->Drop(key);
      repeated += again ? 1 : 0;
      continue;
    }
    if (EndsReplay(answer.error().code())) co_return false;
    TellLostChange(state_, *request, answer.error());
    kept->Drop(key);
  }
  for (const auto& [handle, fid] : handles.Closed(state_->files)) {
    v1::CloseRequest request;
    FidToWire(fid, request.mutable_fid());
    request.set_handle(handle);
    // A close that is still under way may say it; else the OSTs are asked.
    request.set_size_unknown(true);
    rpc::Call call = MakeCall(rpc::Opcode::kMdsClose, 0, request);
    call.deadline = shard_->Now() + kReplayCallTimeout;
    // A part of the replay: this client is not back before its open files are declared.
    call.replay_xid = state_->identity.NextXid();
    const auto closed = co_await mds_->Execute(std::move(call));
    static_cast<void>(closed);
  }
  if (repeated > 0) SHEEN_LOG(Warn, "mds0 had lost {} answered requests: repeated", repeated);
  co_return true;
}

async::Task<bool> ShardContext::ReplayOst(std::string server) {
  for (;;) {
    const uint64_t boot = state_->identity.Session(server).server_boot;
    const ReplayTurns::Turn turn = state_->replay_turns.Take(server, boot);
    if (turn == ReplayTurns::Turn::kDone) co_return true;
    if (turn == ReplayTurns::Turn::kMine) {
      co_await AwaitEndOfBoot(server, boot);
      const bool same = state_->identity.Session(server).server_boot == boot;
      const bool done = same && co_await ReplayWrites(server, boot);
      state_->replay_turns.End(server, boot, done);
      if (!done) ClientOf(server)->EndConnection("what it had lost could not be repeated in time");
      co_return done;
    }
    if (state_->stopping) co_return false;
    // Another shard's: each of its requests has a deadline.
    ClientOf(server)->StillRecovering();
    co_await shard_->Sleep(kLook);
  }
}

std::set<uint32_t> ShardContext::OstsOf(const std::string& server) const {
  const std::shared_ptr<const Cluster> cluster = state_->cluster.Get();
  std::set<uint32_t> osts;
  for (const auto& [ost, name] : cluster->ost_servers) {
    if (name == server) osts.insert(ost);
  }
  return osts;
}

// False: the connection ended first; what is left is for the next.
async::Task<bool> ShardContext::ReplayWrites(std::string server, uint64_t boot) {
  // Side by side: none is late because of another's disk. Each in its order; an object is of one.
  std::vector<async::Task<Result<size_t>>> targets;
  for (const uint32_t ost : OstsOf(server)) targets.push_back(ReplayTarget(server, ost, boot));
  const std::vector<Result<size_t>> all = co_await async::WhenAll(std::move(targets));
  size_t repeated = 0;
  for (const Result<size_t>& one : all) {
    if (!one) co_return false;
    repeated += *one;
  }
  if (repeated > 0) SHEEN_LOG(Info, "{} has restarted: {} writes repeated", server, repeated);
  co_return true;
}

async::Task<Result<size_t>> ShardContext::ReplayTarget(std::string server, uint32_t ost,
                                                       uint64_t boot) {
  rpc::Client* const client = ClientOf(server);
  KeptWrites* const kept = &state_->kept_writes;
  size_t repeated = 0;
  for (const KeptWrites::Key& key : kept->ToReplay({ost}, boot)) {
    const std::optional<KeptWrite> write = kept->Find(key);
    if (!write) continue;
    rpc::Call call;
    call.opcode = write->opcode;
    call.target = ost;
    call.body = ReplayBody(*write);
    call.bulk = write->bytes;
    call.replay_xid = write->xid;
    call.replay_slot = write->slot;
    call.deadline = shard_->Now() + kReplayCallTimeout;
    const Result<rpc::Answer> answer = co_await client->Execute(std::move(call));
    if (answer) {
      ++repeated;
      kept->Repeated(key, boot, answer->transno);
      continue;
    }
    const Errc code = answer.error().code();
    if (code == Errc::kTimedOut) {
      SHEEN_LOG(Error,
                "{}: OST {} does not answer what it is told again after the restart: {}; until it "
                "does all else waits that this client has to ask of {}, of its other OSTs too",
                server, ost, KeptFilesText(*kept, ost), server);
    }
    if (EndsReplay(code)) co_return std::unexpected(answer.error());
    // kStale: destroyed since, nobody can ask for the bytes. Told before it is not seen any more:
    // a sync that waits for the replay looks then.
    if (code != Errc::kStale) TellLost(state_, *write, server, answer.error());
    kept->Drop(key);
  }
  co_return repeated;
}

}  // namespace sheen::client
