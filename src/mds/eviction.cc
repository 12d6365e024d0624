#include "mds/eviction.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/log.h"
#include "mds/core.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

Status DeleteClient(mdt::Mdt* mdt, const ClientSession& session) {
  mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  txn.Delete(mdt::kClients, mdt::SessionKey(session.id()));
  for (const uint32_t slot : session.Slots()) {
    txn.Delete(mdt::kSlots, mdt::SlotKey(session.id(), slot));
  }
  return mdt->Commit(&txn);
}

// The transno to wait for; 0: there is no such row.
Result<uint64_t> MarkEvicted(mdt::Mdt* mdt, uint64_t session_id) {
  const std::string key = mdt::SessionKey(session_id);
  mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, txn.Get(mdt::kClients, key));
  if (!bytes) return 0;
  SHEEN_TRY_ASSIGN(mdt::ClientRow row, mdt::DecodeClient(*bytes));
  row.evicted = true;
  txn.Put(mdt::kClients, key, mdt::Encode(row));
  const uint64_t transno = txn.transno();
  SHEEN_TRY(mdt->Commit(&txn));
  return transno;
}

bool LivesElsewhere(Core* core, const ClientSession& session) {
  return std::ranges::any_of(core->sessions.All(), [&session](const auto& other) {
    return other->id() != session.id() && other->client() == session.client() &&
           !other->ended.load();
  });
}

}  // namespace

async::Task<Status> EndSession(Core* core, std::shared_ptr<ClientSession> session) {
  const uint64_t id = session->id();
  for (const auto& [fid, handle] : core->handles.CloseSession(id)) {
    // Errors are the store's: the file then waits in the table of open-unlinked ones.
    Status closed = co_await RunInternal(core, &DropHandle, DropHandleBody(fid, id, handle));
    if (closed) closed = co_await RunInternal(core, &ReapOrphan, mdt::InodeKey(fid));
    if (!closed) SHEEN_LOG(Warn, "{}: {}", fid.ToString(), closed.error().ToString());
  }
  std::function<Status()> erase = [core, &session]() -> Status {
    SHEEN_TRY(core->idle_marks.Forget(core->mdt.get(), session->id()));
    return DeleteClient(core->mdt.get(), *session);
  };
  const Status erased = co_await core->options.pool->Run<Status>(std::move(erase));
  core->file_locks.DropSession(id);
  core->recovery.Back(id);
  core->sessions.Erase(id);
  core->handles.ForgetSession(id);
  co_return erased;
}

void Eviction::Start() {
  for (const auto& session : core_->sessions.All()) {
    if (!session->evicted.load()) continue;
    shard_->Post([this, id = session->id()] { Begin(id, "the server restarted before it was"); });
  }
}

async::Task<void> Eviction::Stop() {
  stopping_ = true;
  retry_.WakeAll(shard_);
  co_await gate_.Close();
}

async::Task<Status> Eviction::Evict(uint64_t session_id, std::string reason) {
  async::OneShot<Status> done;
  const Waiter waiter{async::Shard::Current(), &done};
  shard_->Post([this, session_id, waiter, reason = std::move(reason)] {
    Join(session_id, reason, waiter);
  });
  co_return co_await done;
}

void Eviction::Request(uint64_t session_id, std::string reason) {
  shard_->Post([this, session_id, reason = std::move(reason)] { Begin(session_id, reason); });
}

void Eviction::Begin(uint64_t session_id, std::string reason) {
  Join(session_id, std::move(reason), {});
}

void Eviction::Join(uint64_t session_id, std::string reason, Waiter waiter) {
  const auto answer = [&waiter](Status status) {
    if (waiter.done == nullptr) return;
    waiter.shard->Post([done = waiter.done, status = std::move(status)] { done->Set(status); });
  };
  if (const auto running = running_.find(session_id); running != running_.end()) {
    running->second.push_back(waiter);
    return;
  }
  std::shared_ptr<ClientSession> session = core_->sessions.Find(session_id);
  if (session == nullptr) return answer(Status());
  if (session->ended.exchange(true) && !session->evicted.load()) return answer(Status());
  if (!gate_.Enter()) return answer(Fail(Errc::kCancelled, "the server is stopping"));
  SHEEN_LOG(Warn, "{}: client {} is evicted (session {:x}): {}", core_->mdt->name(),
            session->client().ToString(), session_id, reason);
  running_[session_id].push_back(waiter);
  shard_->Spawn(Run(std::move(session)));
}

async::Task<void> Eviction::Run(std::shared_ptr<ClientSession> session) {
  const Status status = co_await RunSteps(session);
  if (status) {
    SHEEN_LOG(Info, "{}: the eviction of client {} is complete", core_->mdt->name(),
              session->client().ToString());
  } else if (!stopping_) {
    SHEEN_LOG(Error, "{}: the eviction of client {} failed: {}", core_->mdt->name(),
              session->client().ToString(), status.error().ToString());
  }
  for (const Waiter& waiter : running_[session->id()]) {
    if (waiter.done == nullptr) continue;
    waiter.shard->Post([done = waiter.done, status] { done->Set(status); });
  }
  running_.erase(session->id());
  gate_.Leave(shard_);
}

async::Task<Status> Eviction::RunSteps(std::shared_ptr<ClientSession> session) {
  session->evicted.store(true);
  core_->handles.CloseSession(session->id());  // no new ones
  if (core_->options.on_session_evicted) core_->options.on_session_evicted(session->id());
  SHEEN_CO_TRY_ASSIGN(const bool known, co_await NoteDurably(session->id()));
  // A session whose client never heard of it, since the handshake's answer was lost, goes alone:
  // the client lives in another.
  if (known && !LivesElsewhere(core_, *session)) {
    SHEEN_CO_TRY(co_await FenceEverywhere(session.get()));
  }
  co_return co_await EndSession(core_, std::move(session));
}

async::Task<Result<bool>> Eviction::NoteDurably(uint64_t session_id) {
  std::function<Result<uint64_t>()> mark = [this, session_id] {
    return MarkEvicted(core_->mdt.get(), session_id);
  };
  const auto transno = co_await core_->options.pool->Run<Result<uint64_t>>(std::move(mark));
  if (!transno) co_return std::unexpected(transno.error());
  if (*transno == 0) co_return false;
  SHEEN_CO_TRY(co_await core_->committer->WaitCommitted(*transno));
  co_return true;
}

async::Task<Status> Eviction::FenceEverywhere(ClientSession* session) {
  std::set<std::string> fenced;
  for (bool first = true;; first = false) {
    // Looked at again each time: a server that is gone needs no fence, one that came does.
    std::vector<std::string> left = core_->cluster->OssNames();
    std::erase_if(left, [&](const std::string& server) { return fenced.contains(server); });
    if (left.empty()) co_return Status();
    if (stopping_) co_return Fail(Errc::kCancelled, "the server is stopping");
    const size_t asked = left.size();
    std::set<std::string> now = co_await FenceAt(session, std::move(left), first);
    const bool all = now.size() == asked;
    fenced.merge(now);
    if (!all) co_await WaitRetry();
  }
}

async::Task<std::set<std::string>> Eviction::FenceAt(ClientSession* session,
                                                     std::vector<std::string> servers, bool first) {
  std::set<std::string> fenced;
  if (core_->options.objects == nullptr) co_return fenced;
  v1::FenceSessionRequest request;
  const Uuid& client = session->client();
  request.set_client_uuid(client.bytes.data(), client.bytes.size());
  std::vector<async::Task<Status>> calls;
  calls.reserve(servers.size());
  for (const std::string& server : servers) {
    calls.push_back(core_->options.objects->FenceSession(server, request));
  }
  const std::vector<Status> answers = co_await async::WhenAll<Status>(std::move(calls));
  for (size_t i = 0; i < servers.size(); ++i) {
    if (answers[i]) {
      fenced.insert(servers[i]);
    } else if (first) {
      SHEEN_LOG(Warn, "client {} is not fenced at {}, its files wait: {}", client.ToString(),
                servers[i], answers[i].error().ToString());
    }
  }
  co_return fenced;
}

async::Task<void> Eviction::WaitRetry() {
  if (stopping_) co_return;
  const async::TimerId timer = shard_->AddTimer(shard_->Now() + core_->options.commit_interval,
                                                [this] { retry_.WakeAll(shard_); });
  co_await retry_.Wait();
  shard_->CancelTimer(timer);
}

}  // namespace sheen::mds
