#include "mds/idle_marks.h"

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"

namespace sheen::mds {
namespace {

constexpr std::string_view kPrefix = "idle/";

std::string KeyOf(uint64_t session_id) {
  std::string key(kPrefix);
  AppendBig64(&key, session_id);
  return key;
}

Result<uint64_t> Write(mdt::Mdt* mdt, const std::vector<uint64_t>& marked,
                       const std::vector<uint64_t>& gone) {
  mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  for (const uint64_t id : marked) {
    txn.Put(mdt::kConfig, KeyOf(id), mdt::EncodeCommitted(mdt->superblock().boot));
  }
  for (const uint64_t id : gone) txn.Delete(mdt::kConfig, KeyOf(id));
  const uint64_t transno = txn.transno();
  SHEEN_TRY(mdt->Commit(&txn));
  return transno;
}

}  // namespace

Result<std::set<uint64_t>> IdleMarks::Load(mdt::Mdt* mdt, const std::set<uint64_t>& known) {
  const uint64_t boot = mdt->superblock().boot;
  std::vector<uint64_t> marked;
  std::vector<uint64_t> old;
  Status parsed;
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  const auto take = [&](std::string_view key, std::string_view value) {
    const Result<uint64_t> written = mdt::DecodeCommitted(value);
    if (!written || key.size() != kPrefix.size() + sizeof(uint64_t)) {
      parsed = Fail(Errc::kCorrupt, "config: a mark of an idle client cannot be read");
      return false;
    }
    const uint64_t id = LoadBig64(key.data() + kPrefix.size());
    (*written + 1 == boot && known.contains(id) ? marked : old).push_back(id);
    return true;
  };
  SHEEN_TRY(txn.Scan(mdt::kConfig, kPrefix, kPrefix, take));
  SHEEN_TRY(std::move(parsed));
  if (!marked.empty() || !old.empty()) SHEEN_TRY(Write(mdt, marked, old));
  const std::scoped_lock lock(mutex_, left_mutex_);
  marked_.insert(marked.begin(), marked.end());
  left_ = marked_;
  return marked_;
}

void IdleMarks::Left(mdt::Mdt* mdt, async::BlockingPool* pool,
                     std::shared_ptr<const rpc::Session> session) {
  {
    const std::scoped_lock lock(left_mutex_);
    left_.insert(session->id());
    ++running_;
  }
  pool->Submit([this, mdt, session = std::move(session)] {
    const Status marked = Mark(mdt, *session);
    if (!marked) SHEEN_LOG(Warn, "a client that has gone: {}", marked.error().ToString());
    const std::scoped_lock lock(left_mutex_);
    // Under the mutex: Drain's caller may destroy this as soon as it sees running_.
    if (--running_ == 0) idle_.notify_all();
  });
}

void IdleMarks::Drain() {
  std::unique_lock lock(left_mutex_);
  idle_.wait(lock, [this] { return running_ == 0; });
}

Status IdleMarks::Mark(mdt::Mdt* mdt, const rpc::Session& session) {
  const std::scoped_lock lock(mutex_);
  {
    const std::scoped_lock left_lock(left_mutex_);
    if (!left_.contains(session.id())) return {};
  }
  if (session.link_count.load() > 0 || session.ended.load()) return {};
  SHEEN_TRY(Write(mdt, {session.id()}, {}));
  marked_.insert(session.id());
  return {};
}

bool IdleMarks::Returned(uint64_t session_id) {
  const std::scoped_lock lock(left_mutex_);
  if (left_.erase(session_id) > 0) returning_.try_emplace(session_id, 0);
  return returning_.contains(session_id);
}

Result<uint64_t> IdleMarks::Unmark(mdt::Mdt* mdt, uint64_t session_id) {
  const std::scoped_lock lock(mutex_);
  if (marked_.contains(session_id)) {
    SHEEN_TRY_ASSIGN(const uint64_t transno, Write(mdt, {}, {session_id}));
    marked_.erase(session_id);
    const std::scoped_lock left_lock(left_mutex_);
    returning_[session_id] = transno;
    return transno;
  }
  const std::scoped_lock left_lock(left_mutex_);
  const auto other = returning_.find(session_id);
  return other == returning_.end() ? uint64_t{0} : other->second;
}

void IdleMarks::Settled(uint64_t session_id) {
  const std::scoped_lock lock(left_mutex_);
  returning_.erase(session_id);
}

Status IdleMarks::Forget(mdt::Mdt* mdt, uint64_t session_id) {
  {
    const std::scoped_lock lock(left_mutex_);
    left_.erase(session_id);
    returning_.erase(session_id);
  }
  // Whoever is marking it has done so by now.
  const std::scoped_lock lock(mutex_);
  if (!marked_.contains(session_id)) return {};
  const Result<uint64_t> written = Write(mdt, {}, {session_id});
  if (!written) return std::unexpected(written.error());
  marked_.erase(session_id);
  return {};
}

}  // namespace sheen::mds
