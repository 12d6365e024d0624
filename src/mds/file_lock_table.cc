#include "mds/file_lock_table.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/transno.h"

namespace sheen::mds {
namespace {

using lock::FileLockOutcome;
using lock::FileLockType;

// Sequence numbers of one boot; 2^40 changes are years of them.
// A client that does not answer an event within this is disconnected; back again, it asks.
constexpr Nanos kEventTimeout = std::chrono::seconds(20);

}  // namespace

v1::FileLockOutcome OutcomeToWire(FileLockOutcome outcome) {
  switch (outcome) {
    case FileLockOutcome::kGranted:
      return v1::FILE_LOCK_GRANTED;
    case FileLockOutcome::kWaiting:
      return v1::FILE_LOCK_WAITING;
    case FileLockOutcome::kRefused:
      return v1::FILE_LOCK_REFUSED;
    case FileLockOutcome::kDeadlock:
      return v1::FILE_LOCK_DEADLOCK;
  }
  return v1::FILE_LOCK_UNKNOWN;
}

void FileLockTable::Begin(uint64_t boot, const std::vector<uint64_t>& sessions, Nanos deadline,
                          Nanos last_deadline) {
  const std::scoped_lock lock(mutex_);
  sequence_ = TransnoBase(boot);
  awaited_.insert(sessions.begin(), sessions.end());
  deadline_ = deadline;
  last_deadline_ = std::max(deadline, last_deadline);
}

void FileLockTable::Extend(Nanos until) {
  const std::scoped_lock lock(mutex_);
  if (!awaited_.empty()) deadline_ = std::max(deadline_, std::min(until, last_deadline_));
}

bool FileLockTable::AwaitingLocked(Nanos now) {
  if (awaited_.empty()) return false;
  if (now < deadline_) return true;
  SHEEN_LOG(Warn, "file locks: {} clients have not said in time what they hold; going on",
            awaited_.size());
  awaited_.clear();
  return false;
}

lock::FileLocks* FileLockTable::FileOf(const Fid& fid) {
  std::unique_ptr<lock::FileLocks>& file = files_[fid];
  if (file == nullptr) file = std::make_unique<lock::FileLocks>(&graph_);
  return file.get();
}

void FileLockTable::ForgetIfEmpty(const Fid& fid) {
  const auto found = files_.find(fid);
  if (found != files_.end() && found->second->empty()) files_.erase(found);
}

// What lets go always has room: at most one range more, from a split.
Status FileLockTable::Check(const lock::FileLockRequest& request, const Client& client) const {
  // Under the mutex: DropSession comes after the mark, and finds what was put here before.
  if (client.ended != nullptr && client.ended->load())
    return Fail(Errc::kEvicted, "the session has ended");
  if (request.type == FileLockType::kUnlock) return {};
  if (held_ < options_.ranges_max && (!request.wait || waits_.size() < options_.waits_max))
    return {};
  return Fail(Errc::kNoLocks, "the MDS keeps as many file locks as it may");
}

bool FileLockTable::LapsedLocked(const rpc::Session& session, Nanos now) const {
  return session.link_count.load() == 0 &&
         now.count() - session.idle_since_ns.load() >= options_.grace.count();
}

void FileLockTable::FindLapsed(const lock::FileLocks& file, const lock::FileLockRequest& request,
                               Nanos now, SetAnswer* answer) {
  std::set<uint64_t> lapsed;
  file.VisitBlockers(request, [&](const lock::FileLockOwner& owner) {
    const auto known = sessions_.find(owner.client);
    if (known == sessions_.end() || !lapsed.insert(owner.client).second) return false;
    std::optional<Nanos>& since = known->second.in_the_way_since;
    if (!LapsedLocked(*known->second.session, now)) {
      since.reset();
      lapsed.erase(owner.client);
      return false;
    }
    if (!since) since = now;
    if (now - *since < options_.eviction_time) answer->soon_free = true;
    return false;
  });
  answer->lapsed.assign(lapsed.begin(), lapsed.end());
}

void FileLockTable::NoteEnd(const lock::FileLockRequestName& name, FileLockOutcome outcome,
                            Events* events) {
  const auto wait = waits_.find(name);
  if (wait == waits_.end()) return;
  events->push_back({std::move(wait->second.peer), name.id, outcome, ++sequence_});
  waits_.erase(wait);
}

void FileLockTable::NoteChanges(const lock::FileLockChanges& changes, Events* events) {
  for (const auto& name : changes.granted) NoteEnd(name, FileLockOutcome::kGranted, events);
  for (const auto& name : changes.deadlocked) NoteEnd(name, FileLockOutcome::kDeadlock, events);
}

// An event that does not arrive is no loss: the client asks again, on its next connection.
void FileLockTable::Tell(const Events& events) {
  // In the order of their first events.
  std::vector<std::pair<rpc::Peer*, v1::FileLockEvents>> messages;
  for (const Event& event : events) {
    if (event.peer == nullptr) continue;
    rpc::Peer* const peer = event.peer.get();
    auto message = std::ranges::find(messages, peer, &decltype(messages)::value_type::first);
    if (message == messages.end()) message = messages.insert(message, {peer, {}});
    v1::FileLockEvents::Event* wire = message->second.add_events();
    wire->set_id(event.id);
    wire->set_outcome(OutcomeToWire(event.outcome));
    wire->set_sequence(event.sequence);
  }
  for (const auto& [peer, message] : messages) {
    peer->Ask(rpc::Opcode::kFileLockEvent, message.SerializeAsString(), {kEventTimeout},
              [](bool /*answered*/) {});
  }
}

Result<FileLockTable::SetAnswer> FileLockTable::Set(const Fid& fid,
                                                    const lock::FileLockRequest& request,
                                                    const Client& client, Nanos now) {
  Events events;
  SetAnswer answer;
  {
    const std::scoped_lock lock(mutex_);
    if (request.type != FileLockType::kUnlock && AwaitingLocked(now)) {
      return Fail(Errc::kUnavailable,
                  "clients that held file locks before the server's restart may still come back");
    }
    SHEEN_TRY(Check(request, client));
    lock::FileLocks* const file = FileOf(fid);
    sessions_[request.owner.client].session = client.session;
    const size_t before = file->held_count();
    const Result<lock::FileLockAnswer> set = file->Set(request);
    if (!set) {
      ForgetIfEmpty(fid);
      return std::unexpected(set.error());
    }
    held_ += file->held_count() - before;
    answer.outcome = set->outcome;
    answer.sequence = ++sequence_;
    if (set->outcome == FileLockOutcome::kWaiting) {
      waits_.insert_or_assign(request.name(), Wait{fid, request, client.peer});
    } else {
      // Sent again, and free by now.
      waits_.erase(request.name());
    }
    if (set->outcome != FileLockOutcome::kGranted) FindLapsed(*file, request, now, &answer);
    NoteChanges(set->changes, &events);
    ForgetIfEmpty(fid);
  }
  Tell(events);
  return answer;
}

Result<std::optional<lock::FileLock>> FileLockTable::Test(const Fid& fid,
                                                          const lock::FileLock& wanted,
                                                          Nanos now) {
  const std::scoped_lock lock(mutex_);
  if (AwaitingLocked(now)) {
    return Fail(Errc::kUnavailable,
                "clients that held file locks before the server's restart may still come back");
  }
  Result<std::optional<lock::FileLock>> blocker =
      FileOf(fid)->Test(wanted.owner, wanted.type, wanted.extent);
  ForgetIfEmpty(fid);
  return blocker;
}

bool FileLockTable::Cancel(const Fid& fid, const lock::FileLockRequestName& name) {
  const std::scoped_lock lock(mutex_);
  const auto file = files_.find(fid);
  if (file == files_.end() || !file->second->Abandon(name)) return false;
  waits_.erase(name);
  ForgetIfEmpty(fid);
  return true;
}

Result<std::vector<uint32_t>> FileLockTable::Reclaim(const std::vector<Held>& locks,
                                                     const Client& client) {
  std::vector<uint32_t> lost;
  Events events;
  {
    const std::scoped_lock lock(mutex_);
    for (size_t i = 0; i < locks.size(); ++i) {
      lock::FileLockRequest request;
      request.owner = locks[i].lock.owner;
      request.type = locks[i].lock.type;
      request.extent = locks[i].lock.extent;
      request.pid = locks[i].lock.pid;
      SHEEN_TRY(Check(request, client));
      sessions_[request.owner.client].session = client.session;
      lock::FileLocks* const file = FileOf(locks[i].fid);
      const size_t before = file->held_count();
      const Result<lock::FileLockAnswer> set = file->Set(request);
      held_ += file->held_count() - before;
      if (!set || set->outcome != FileLockOutcome::kGranted)
        lost.push_back(static_cast<uint32_t>(i));
      if (set) NoteChanges(set->changes, &events);
      ForgetIfEmpty(locks[i].fid);
    }
  }
  Tell(events);
  return lost;
}

bool FileLockTable::Knows(uint64_t session_id) const {
  std::lock_guard lock(mutex_);
  return sessions_.contains(session_id);
}

void FileLockTable::Declared(uint64_t session_id) {
  const std::scoped_lock lock(mutex_);
  if (awaited_.erase(session_id) != 0 && awaited_.empty())
    SHEEN_LOG(Info, "file locks: all known clients have said what they hold");
}

void FileLockTable::DropWaits(uint64_t session_id) {
  auto wait = waits_.lower_bound({session_id, 0});
  while (wait != waits_.end() && wait->first.client == session_id) {
    const Fid fid = wait->second.fid;
    files_.at(fid)->Abandon(wait->first);
    ForgetIfEmpty(fid);
    wait = waits_.erase(wait);
  }
}

bool FileLockTable::Lapse(const rpc::Session& session, Nanos now) {
  const std::scoped_lock lock(mutex_);
  // Seen under the mutex: a client that has come back declares and asks after this, or is spared.
  if (!LapsedLocked(session, now)) return false;
  DropWaits(session.id());
  const bool wanted = std::ranges::any_of(waits_, [&](const auto& entry) {
    const Wait& wait = entry.second;
    return files_.at(wait.fid)->VisitBlockers(
        wait.request,
        [&](const lock::FileLockOwner& owner) { return owner.client == session.id(); });
  });
  if (!wanted) return false;
  std::optional<Nanos>& since = sessions_[session.id()].in_the_way_since;
  if (!since) since = now;
  return true;
}

void FileLockTable::DropSession(uint64_t session_id) {
  Events events;
  {
    const std::scoped_lock lock(mutex_);
    awaited_.erase(session_id);
    if (sessions_.erase(session_id) == 0) return;
    DropWaits(session_id);
    for (auto at = files_.begin(); at != files_.end();) {
      lock::FileLocks* const file = at->second.get();
      const size_t before = file->held_count();
      NoteChanges(file->ReleaseClient(session_id), &events);
      held_ += file->held_count() - before;
      at = file->empty() ? files_.erase(at) : std::next(at);
    }
  }
  Tell(events);
}

FileLockTable::Counts FileLockTable::counts() const {
  const std::scoped_lock lock(mutex_);
  return {held_, waits_.size()};
}

std::vector<lock::FileLock> FileLockTable::HeldOn(const Fid& fid) const {
  const std::scoped_lock lock(mutex_);
  const auto file = files_.find(fid);
  return file == files_.end() ? std::vector<lock::FileLock>() : file->second->Held();
}

}  // namespace sheen::mds
