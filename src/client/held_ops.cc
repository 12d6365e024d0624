#include "client/held_ops.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/log.h"
#include "client/block_sums.h"
#include "client/convert.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/page_ops.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kDeclareTimeout = std::chrono::seconds(20);

std::string ServerOf(State* state, uint32_t ost) {
  const std::shared_ptr<const Cluster> cluster = state->cluster.Get();
  const auto server = cluster->ost_servers.find(ost);
  return server == cluster->ost_servers.end() ? std::string() : server->second;
}

// Cut at objects, and at the windows of chunks. Empty: a part has no object yet.
std::vector<HeldPart> PartsOf(const LayoutPtr& layout, uint64_t offset, ByteSpan data) {
  std::vector<HeldPart> parts;
  for (const layout::Piece& piece : layout::MapRange(*layout, offset, data.size())) {
    const layout::Component& component = layout->components[piece.component];
    if (!component.instantiated()) return {};
    const uint64_t window =
        component.source ? HeldWrites::kAbsentChunkBytes : HeldWrites::kChunkBytes;
    for (uint64_t done = 0; done < piece.length;) {
      const uint64_t at = piece.file_offset + done;
      const uint64_t length = std::min(piece.length - done, window - at % window);
      HeldPart& part = parts.emplace_back();
      part.window = window;
      part.file_offset = at;
      part.object_offset = piece.object_offset + done;
      part.bytes = data.subspan(at - offset, length);
      part.component = piece.component;
      part.stripe = piece.stripe;
      part.ost = component.osts[piece.stripe];
      part.layout = layout;
      part.birth = component.birth;
      part.ends_stripe = (part.object_offset + length) % component.stripe_bytes == 0;
      done += length;
    }
  }
  return parts;
}

void ToWire(State* state, const HeldChunk& chunk, const IoView& view,
            v1::OstWriteRequest* request) {
  request->set_offset(chunk.object_offset);
  if (state->block_sums.load(std::memory_order_relaxed)) {
    request->set_block_bytes(view.layout->block_bytes);
    ForEachBlock(chunk.object_offset, chunk.bytes(), view.layout->block_bytes,
                 [request](ByteSpan block) { request->add_block_crc(Crc32c(block)); });
  }
  OwnerToWire(view, request->mutable_owner());
  request->set_ctime_seen_ns(view.ctime_seen_ns);
  request->set_handle(chunk.handle);
  request->set_lock(chunk.lock);
  request->set_granted_bytes(chunk.granted_bytes);
  request->set_grant_wanted(state->grants.Wanted(chunk.ost));
}

// The newest layout, if the chunk's object is in it. Whoever replaces the layout waits for chunks
// that go out before its hold begins, and for none that was refused since.
async::Task<Result<LayoutPtr>> LayoutOfChunk(State* state, OpenFile* file, HeldChunkPtr chunk) {
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, co_await LayoutAfterHold(state, file));
  const bool same = chunk->component < layout->components.size() &&
                    layout->components[chunk->component].birth == chunk->birth;
  if (same) co_return layout;
  co_return Fail(Errc::kLockLost, file->fid().ToString() + ": its objects were replaced");
}

// To the object that it was taken for, which is also the lock's.
async::Task<Status> SendChunk(State* state, OpenFile* file, HeldChunkPtr chunk) {
  LayoutPtr layout = chunk->layout;
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    IoView view = file->ViewForWrite();
    view.layout = layout;
    const layout::Component& component = view.layout->components[chunk->component];
    v1::OstWriteRequest request;
    ObjectToWire(component, chunk->stripe, request.mutable_object());
    ToWire(state, *chunk, view, &request);
    if (state->kernel.tells()) {
      const layout::ObjectId object = layout::ObjectOf(component, chunk->stripe);
      request.set_pages(AskForWrittenPages(state, *file, chunk->ost, object));
    }
    rpc::Call call = MakeCall(rpc::Opcode::kOstWrite, file->WhoOf(chunk->handle), request);
    call.bulk = chunk->bytes();
    call.bulk_owner = chunk;
    call.file = file->fid();
    // Those who wait for the lock may have all others.
    call.slot_list_apart = component.source ? kSlotsForAbsent : kSlotsForHere;
    auto answered =
        co_await OstCall<v1::OstWriteReply>(state->Here(), chunk->ost, std::move(call));
    if (answered) {
      state->grants.Add(chunk->ost, answered->reply.grant());
      if (answered->reply.pages_known()) NotePagesKnown(state, request.pages());
      file->NoteChange(view.layout, {chunk->component, chunk->stripe},
                       ObjectFromWire(answered->reply.attr()), answered->transno);
      co_return Status();
    }
    if (!MayBeReplaced(answered.error().code())) co_return std::unexpected(answered.error());
    SHEEN_CO_TRY_ASSIGN(layout, co_await LayoutOfChunk(state, file, chunk));
  }
  co_return std::unexpected(LayoutKeepsChanging(file->fid()));
}

void TellLostChunk(State* state, const Fid& fid, const HeldChunkPtr& chunk, const Error& why) {
  const std::string saved =
      state->lost_data.Save(fid.ToString(), chunk->file_offset, chunk->bytes(), chunk);
  SHEEN_LOG(Error,
            "{}: {} bytes at {} that were written could not be stored: {}; the next fsync or open "
            "of the file tells{}",
            fid.ToString(), chunk->size, chunk->file_offset, why.ToString(), saved);
  state->kernel.DataLost(fid, chunk->file_offset, chunk->size);
}

// The server has taken the lock away: what is held under it is lost.
void LoseLock(State* state, OpenFile* file, uint64_t lock, const Error& why, GrantPool* grants) {
  for (const HeldChunkPtr& lost : file->held()->LoseLock(lock, why, &state->held_budget, grants)) {
    TellLostChunk(state, file->fid(), lost, why);
  }
  state->extents.Remove(lock);
}

// `state` counts it as background work already.
async::Task<void> WriteChunk(State* state, std::shared_ptr<OpenFile> file, HeldChunkPtr chunk) {
  const Status written = co_await SendChunk(state, file.get(), chunk);
  if (!written) TellLostChunk(state, file->fid(), chunk, written.error());
  const Errc code = written ? Errc::kOk : written.error().code();
  if (code == Errc::kLockLost || code == Errc::kFenced) {
    // It was refused before the server used up its space; that of an ended session is gone.
    const bool same = chunk->session == OstSession(state, chunk->ost);
    GrantPool* const grants = code == Errc::kLockLost && same ? &state->grants : nullptr;
    if (grants != nullptr) grants->Add(chunk->ost, chunk->granted_bytes);
    LoseLock(state, file.get(), chunk->lock, written.error(), grants);
  }
  file->held()->End(chunk, written, &state->held_budget);
  --state->background;
}

// On another shard if there is one: the writer goes on meanwhile.
void StartWriting(State* state, const std::shared_ptr<OpenFile>& file,
                  const std::vector<HeldChunkPtr>& chunks, bool elsewhere) {
  ShardContext* here = state->Here();
  ShardContext* context = here;
  for (const std::unique_ptr<ShardContext>& other : state->contexts) {
    if (elsewhere && other && other.get() != here) context = other.get();
  }
  for (const HeldChunkPtr& chunk : chunks) {
    ++state->background;
    if (context == here) {
      here->shard()->Spawn(WriteChunk(state, file, chunk));
      continue;
    }
    context->shard()->Post([state, context, file, chunk] {
      context->shard()->Spawn(WriteChunk(state, file, chunk));
    });
  }
}

// While the file has chunks: none becomes older than kAgeMax.
async::Task<void> WatchAge(State* state, std::shared_ptr<OpenFile> file) {
  const BackgroundMark mark(state);
  async::Shard* const shard = async::Shard::Current();
  do {
    co_await shard->Sleep(HeldWrites::kAgeMax / 2);
    StartWriting(state, file, file->held()->Begin(shard->Now() - HeldWrites::kAgeMax / 2), false);
  } while (!file->held()->StopAging());
}

void HeldToWire(const ExtentLock& lock, v1::HeldLock* wire) {
  wire->set_target(lock.ost);
  ObjectToWire(lock.object, wire->mutable_object());
  wire->set_lock(lock.id);
  wire->mutable_range()->set_start(lock.extent.start);
  wire->mutable_range()->set_end(lock.extent.end);
}

}  // namespace

uint64_t OstSession(State* state, uint32_t ost) {
  const std::string server = ServerOf(state, ost);
  if (server.empty()) return 0;
  const rpc::ServerSession session = state->identity.Session(server);
  return (session.features & rpc::kExtentLocks) != 0 ? session.session_id : 0;
}

async::Task<void> SendCancel(State* state, uint32_t ost, v1::OstLockCancelRequest request) {
  const BackgroundMark mark(state);
  rpc::Call call = MakeCall(rpc::Opcode::kOstLockCancel, 0, request);
  const auto answered =
      co_await OstCall<v1::OstLockCancelReply>(state->Here(), ost, std::move(call));
  static_cast<void>(answered);
}

// ---- the tables ----

void ExtentBook::Add(uint64_t id, std::weak_ptr<OpenFile> file) {
  const std::scoped_lock lock(mutex_);
  files_[id] = std::move(file);
}

void ExtentBook::Remove(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  files_.erase(id);
}

bool ExtentBook::NoteSession(const std::string& server, uint64_t session) {
  const std::scoped_lock lock(mutex_);
  const auto [at, added] = sessions_.emplace(server, session);
  return !added && std::exchange(at->second, session) != session;
}

std::shared_ptr<OpenFile> ExtentBook::Find(uint64_t id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(id);
  return found == files_.end() ? nullptr : found->second.lock();
}

void LateErrors::Put(const Fid& fid, const Error& error) {
  const std::scoped_lock lock(mutex_);
  if (errors_.size() >= kCountMax) return;  // it is in the log
  errors_.emplace(fid, error);
  any_.store(true);
}

std::optional<Error> LateErrors::Take(const Fid& fid) {
  if (!any_.load()) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  auto node = errors_.extract(fid);
  any_.store(!errors_.empty());
  if (node.empty()) return std::nullopt;
  return node.mapped();
}

// ---- holding and writing ----

async::Task<bool> Hold(State* state, std::shared_ptr<OpenFile> file, uint64_t handle,
                       uint64_t offset, ByteSpan data) {
  if (!state->options.write_behind) co_return false;
  const LayoutPtr layout = HeldLayout(state, file.get()).value_or(nullptr);
  if (!layout) co_return false;
  const uint64_t limit = layout::LimitOf(*layout);
  if (offset >= limit || data.size() > limit - offset) co_return false;
  const std::vector<HeldPart> parts = PartsOf(layout, offset, data);
  async::Shard* const shard = async::Shard::Current();
  HeldWrites* const held = file->held();
  std::vector<HeldChunkPtr> full;
  for (;;) {
    const HeldWrites::Offer offer =
        held->Take(parts, handle, shard->Now(), &state->grants, &state->held_budget, &full);
    if (offer == HeldWrites::Offer::kPass) co_return false;
    if (offer == HeldWrites::Offer::kTaken) break;
    StartWriting(state, file, held->Begin(shard->Now()), true);
    co_await held->Progress();
  }
  StartWriting(state, file, full, true);
  if (held->StartAging()) shard->Spawn(WatchAge(state, file));
  co_return true;
}

async::Task<void> WriteHeld(State* state, std::shared_ptr<OpenFile> file) {
  HeldWrites* const held = file->held();
  if (!held->any()) co_return;
  const uint64_t upto = held->last_sequence();
  StartWriting(state, file, held->Begin(Nanos::max()), false);
  while (held->HasUpTo(upto)) co_await held->Progress();
}

// ---- locks ----

uint64_t AskForLock(State* state, OpenFile* file, const layout::Layout& layout, ObjectPlace place,
                    v1::OstWriteRequest* request) {
  const layout::Component& component = layout.components[place.component];
  const uint32_t ost = component.osts[place.stripe];
  ExtentLock lock;
  lock.session = OstSession(state, ost);
  if (!state->options.write_behind || lock.session == 0) return 0;
  if (file->held()->HasLocks()) request->set_grant_wanted(state->grants.Wanted(ost));
  lock.id = state->extents.NewId();
  lock.ost = ost;
  lock.component = place.component;
  lock.stripe = place.stripe;
  lock.object = layout::ObjectOf(component, place.stripe);
  if (!file->held()->BeginAsk(lock, state->Here()->shard()->Now())) return 0;
  state->extents.Add(lock.id, state->files.Find(file->fid()));
  state->extents.NoteSession(ServerOf(state, ost), lock.session);
  request->set_keep_lock(lock.id);
  request->set_grant_wanted(state->grants.Wanted(ost));
  return lock.id;
}

void TakeLock(State* state, OpenFile* file, uint32_t ost, uint64_t lock,
              const v1::OstWriteReply* reply) {
  if (reply != nullptr) state->grants.Add(ost, reply->grant());
  if (lock == 0) return;
  std::optional<lock::Extent> granted;
  // In a session that began meanwhile it would be taken for one of the old.
  const bool same = file->held()->SessionOf(lock) == OstSession(state, ost);
  if (reply != nullptr && reply->has_kept() && same) {
    granted = lock::Extent{reply->kept().start(), reply->kept().end()};
  }
  if (!file->held()->EndAsk(lock, granted, state->Here()->shard()->Now())) {
    state->extents.Remove(lock);
  }
}

void ReleaseExtents(State* state, OpenFile* file) {
  std::map<uint32_t, v1::OstLockCancelRequest> requests;
  for (const ExtentLock& lock : file->held()->ReleaseAll()) {
    state->extents.Remove(lock.id);
    HeldToWire(lock, requests[lock.ost].add_locks());
  }
  // Space that nothing waits in goes back with them.
  for (auto& [ost, request] : requests) {
    if (state->held_budget.bytes.load() > 0) break;
    v1::TargetGrant* const grant = request.add_grants();
    grant->set_target(ost);
    grant->set_bytes(state->grants.TakeUpTo(ost, UINT64_MAX));
  }
  for (auto& [ost, request] : requests) {
    state->Here()->shard()->Spawn(SendCancel(state, ost, std::move(request)));
  }
}

// ---- the server's side of it ----

void ShardContext::OnExtentCallback(const std::string& body, rpc::Client::AnswerFunction answer) {
  v1::ExtentCallback callback;
  const bool readable = callback.ParseFromString(body);
  const std::shared_ptr<OpenFile> file = readable ? state_->extents.Find(callback.lock()) : nullptr;
  if (!file && callback.has_object()) {
    ForgetCalledPages(this, callback.lock(), FidFromWire(callback.object().fid()),
                      std::move(answer));
    return;
  }
  if (!file) {
    answer();
    return;
  }
  const HeldWrites::Called called = file->held()->Callback(callback.lock(), shard_->Now());
  if (called == HeldWrites::Called::kGone) {
    state_->extents.Remove(callback.lock());
    answer();
    return;
  }
  shard_->Spawn(GiveBack(file, callback.lock(), std::move(answer)));
}

async::Task<void> ShardContext::GiveBack(std::shared_ptr<OpenFile> file, uint64_t lock,
                                         rpc::Client::AnswerFunction answer) {
  const BackgroundMark mark(state_);
  // Not for what lies on other servers, which may be away.
  StartWriting(state_, file, file->held()->Begin(Nanos::max()), false);
  while (file->held()->HasUnder(lock)) co_await file->held()->Progress();
  file->held()->EndLock(lock);
  state_->extents.Remove(lock);
  answer();
}

// After a reconnect: what this client holds there. What was given in another session is lost.
async::Task<void> ShardContext::RecoverOst(std::string server, bool restarted) {
  // Changed since the connection ended, they were not called back, or by nobody who knew of them.
  ForgetPagesOf(state_, OstsOf(server));
  if (restarted) NoteUnkept(server);
  if (!co_await ReplayOst(server)) co_return;
  ClientOf(server)->ReplayDone();
  const rpc::ServerSession session = state_->identity.Session(server);
  const auto client = clients_.find(server);
  if ((session.features & rpc::kExtentLocks) == 0 || client == clients_.end()) co_return;
  const Error gone(Errc::kLockLost, server + " has ended the session: what was not stored is lost");
  v1::OstLockDeclareRequest request;
  std::map<uint32_t, uint64_t> grants;
  const std::shared_ptr<const Cluster> cluster = state_->cluster.Get();
  const bool renewed = state_->extents.NoteSession(server, session.session_id);
  for (const auto& [ost, name] : cluster->ost_servers) {
    if (name != server) continue;
    if (renewed) state_->grants.Drop(ost);
    grants[ost] = state_->grants.Have(ost);
  }
  std::map<uint64_t, std::shared_ptr<OpenFile>> files;
  for (const std::shared_ptr<OpenFile>& file : state_->files.All()) {
    for (const auto& [ost, bytes] : file->held()->GrantedBytes()) {
      if (grants.contains(ost)) grants[ost] += bytes;
    }
    for (const ExtentLock& lock : file->held()->locks()) {
      if (!grants.contains(lock.ost) || lock.state == ExtentLock::State::kAsked) continue;
      if (lock.session != session.session_id) {
        LoseLock(state_, file.get(), lock.id, gone, nullptr);
        continue;
      }
      HeldToWire(lock, request.add_locks());
      files[lock.id] = file;
    }
  }
  for (const auto& [ost, bytes] : grants) {
    // A server that has not restarted knows.
    if (!restarted || renewed) break;
    v1::TargetGrant* const grant = request.add_grants();
    grant->set_target(ost);
    grant->set_bytes(bytes);
  }
  if (grants.empty()) co_return;
  rpc::Call call = MakeCall(rpc::Opcode::kOstLockDeclare, 0, request);
  call.target = grants.begin()->first;
  call.deadline = shard_->Now() + kDeclareTimeout;
  call.recovery = true;
  // By the next connection not before what is repeated then.
  call.this_connection = true;
  const Result<rpc::Answer> answer = co_await client->second->Execute(std::move(call));
  v1::OstLockDeclareReply reply;
  if (!answer || !reply.ParseFromString(answer->body)) {
    SHEEN_LOG(Warn, "{}: the locks held there could not be declared", server);
    co_return;
  }
  for (const uint64_t id : reply.lost()) {
    const auto file = files.find(id);
    if (file == files.end()) continue;
    LoseLock(state_, file->second.get(), id, gone, &state_->grants);
  }
}

}  // namespace sheen::client
