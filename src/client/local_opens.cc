// Opening files and directories for reading without asking the MDS, under the lock that their
// attributes are kept under: while it is held nobody removes the last name, changes who may read,
// or opens for writing, unless this mount has been called back.
//
//   local    open and close cost nothing outside this process
//   telling  before the lock goes (a callback, a change of our own, too many locks), when a
//            connection to the MDS is made again, and after kLocalMax the MDS is told: an open as
//            any other, that checks nothing which the kernel has checked under the lock
//   known    from then on an open file as any other
//
// Whoever opens registers the handle first and then sees whether the lock is still there; whoever
// loses the lock forgets it first and then looks for handles. So one of the two notices.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/open_flags.h"
#include "base/log.h"
#include "client/state.h"

namespace sheen::client {
namespace {

// Most files are closed again by then.
constexpr Nanos kLocalMax = std::chrono::milliseconds(500);
constexpr Nanos kLook = std::chrono::milliseconds(50);
constexpr Nanos kTellMax = std::chrono::seconds(20);

}  // namespace

std::optional<Attr> Filesystem::MayOpenHere(CredentialId who, const Fid& fid,
                                            uint32_t flags) const {
  State* state = state_.get();
  // Nobody may write to a program that runs, which the MDS sees to.
  const bool reads_only = (flags & (O_ACCMODE | O_TRUNC | kOpenForExecution)) == O_RDONLY;
  if (!reads_only || !state->options.local_opens || state->late_errors.any() ||
      state->cluster.opens_are_logged()) {
    return std::nullopt;
  }
  const std::optional<Attr> attr = state->locks.FindAttr(fid, state->Here()->shard()->Now());
  if (!attr || attr->size_unsafe) return std::nullopt;
  if (!S_ISREG(attr->mode) && !S_ISDIR(attr->mode)) return std::nullopt;
  // As the kernel has checked it. An ACL is for the MDS.
  if (!ModeAllows(state->credentials, who, *attr, 4).value_or(false)) return std::nullopt;
  return attr;
}

std::optional<Opened> Filesystem::OpenHere(CredentialId who, const Fid& fid, uint32_t flags) {
  State* state = state_.get();
  const std::optional<Attr> attr = MayOpenHere(who, fid, flags);
  if (!attr) return std::nullopt;
  const std::shared_ptr<OpenFile> open = state->files.Find(fid);
  // What a writer of this mount has done since is in no attributes.
  if (open && (!open->quiet() || HasHeld(open))) return std::nullopt;
  OpenHandle handle{state->next_handle++, flags, 0};
  handle.local = true;
  handle.opener = who;
  state->local_opens.fetch_add(1);
  const std::shared_ptr<OpenFile> file = state->files.AddHandle(handle, *attr, nullptr, false);
  state->Here()->WatchLocalOpen(fid, handle.id);
  const bool still = MayOpenHere(who, fid, flags) == attr && file->quiet();
  if (still) return Opened{*attr, handle.id, false};
  state->Here()->shard()->Spawn(CloseUnused(fid, handle.id));
  return std::nullopt;
}

async::Task<void> Filesystem::CloseUnused(Fid fid, uint64_t handle) {
  const Status closed = co_await Close(fid, handle);
  if (!closed) SHEEN_LOG(Debug, "{}: {}", fid.ToString(), closed.error().ToString());
}

bool ShardContext::HasLocalOpens() const { return state_->local_opens.load() > 0; }

async::Task<bool> ShardContext::TellOpensOnce(std::shared_ptr<OpenFile> file, Nanos until,
                                              uint64_t only) {
  for (const OpenHandle& handle : file->BeginTelling(only)) {
    const Status told = co_await Reopen(file->fid(), handle.id, handle.flags, handle.who, until);
    // Refused for good it is as good as told: the close of a handle that the MDS does not know
    // is no error.
    const bool known = told || IsRefusal(told.error().code());
    if (known) state_->local_opens.fetch_sub(1);
    file->EndTelling(handle.id, known);
  }
  while (file->telling()) co_await file->WaitTold();
  co_return only != 0 ? !file->IsLocal(only) : !file->HasLocal();
}

async::Task<bool> ShardContext::TellOpens(std::shared_ptr<OpenFile> file, Nanos until,
                                          uint64_t only) {
  const BackgroundMark mark(state_);
  while (!co_await TellOpensOnce(file, until, only)) {
    if (state_->stopping || shard_->Now() >= until) co_return false;
    co_await shard_->Sleep(kLook);
  }
  co_return true;
}

async::Task<bool> ShardContext::TellOpensOf(std::vector<Fid> fids) {
  const Nanos wait = state_->options.deadline;
  const Nanos until = wait == Nanos::max() ? wait : shard_->Now() + wait;
  bool told = true;
  for (const Fid& fid : fids) {
    const std::shared_ptr<OpenFile> file = state_->files.Find(fid);
    if (file && file->HasLocal() && !co_await TellOpens(file, until)) told = false;
  }
  // Whoever goes on from an answer that was part of a recovery would count as part of it.
  co_await shard_->Yield();
  co_return told;
}

async::Task<void> ShardContext::TellAllOpens() {
  if (!HasLocalOpens()) co_return;
  for (const std::shared_ptr<OpenFile>& file : state_->files.All()) {
    // A part of the recovery, which the next connection waits for: so once.
    if (file->HasLocal()) co_await TellOpensOnce(file, shard_->Now() + kTellMax, 0);
  }
}

async::Task<void> ShardContext::TellOpensThen(std::shared_ptr<OpenFile> file,
                                              std::function<void()> done) {
  const bool told = co_await TellOpens(std::move(file), Nanos::max());
  // Else this mount is ending, and its connections with it.
  if (told) done();
}

void ShardContext::WatchLocalOpen(const Fid& fid, uint64_t handle) {
  local_opens_.push_back({fid, handle, shard_->Now()});
  if (local_opens_.size() == 1) shard_->Spawn(WatchLocalOpens());
}

async::Task<void> ShardContext::WatchLocalOpens() {
  const BackgroundMark mark(state_);
  while (!local_opens_.empty() && !state_->unmounting) {
    const LocalOpen oldest = local_opens_.front();
    const std::shared_ptr<OpenFile> file = state_->files.Find(oldest.fid);
    if (file && file->IsLocal(oldest.handle)) {
      if (shard_->Now() - oldest.since < kLocalMax) {
        co_await shard_->Sleep(kLook);
        continue;
      }
      // Not those that were opened since: of a file that is opened again and again there are
      // always some.
      const bool told = co_await TellOpens(file, shard_->Now() + kTellMax, oldest.handle);
      if (!told) continue;
    }
    local_opens_.pop_front();
  }
  local_opens_.clear();
}

}  // namespace sheen::client
