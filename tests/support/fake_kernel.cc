#include "support/fake_kernel.h"

#include <algorithm>

namespace sheen::test {
namespace {

using client::Attr;

// Less than client::KernelCache::kSettle, which is for this.
constexpr uint64_t kTravelMaxUs = 2000;
constexpr Nanos kUnknownWait = std::chrono::microseconds(300);
constexpr Nanos kStuck = std::chrono::milliseconds(50);
constexpr Nanos kStep = std::chrono::milliseconds(1);

}  // namespace

FakeKernel::FakeKernel(async::Shard* shard, client::Filesystem* fs, uint64_t seed)
    : shard_(shard), fs_(fs), root_(fs->root()), random_(seed) {
  fs_->kernel()->SetNotifier(this);
  inodes_[root_].lookups = 1;
  ++working_;
  shard_->Post([this] { shard_->Spawn(Tick()); });
}

async::Task<void> FakeKernel::Tick() {
  while (!stopping_) {
    const Nanos wait = fs_->kernel()->Tick(shard_->Now());
    co_await shard_->Sleep(wait);
  }
  --working_;
}

async::Task<void> FakeKernel::Stop() {
  stopping_ = true;
  while (working_ > 0) co_await shard_->Sleep(kStep);
  fs_->kernel()->Stop();
}

bool FakeKernel::Valid(const Dentry& dentry) const {
  return dentry.until > shard_->Now() && dentry.epoch == epoch_;
}

async::Task<void> FakeKernel::Travel() {
  co_await shard_->Sleep(std::chrono::microseconds(random_.Below(kTravelMaxUs)));
}

// fuse_change_attributes: what was asked for before the inode's version rose is dropped; `always`:
// replies that Linux takes without looking.
void FakeKernel::Install(const Attr& attr, Nanos until, uint64_t sampled, bool always) {
  const auto [at, added] = inodes_.try_emplace(attr.fid);
  Inode& inode = at->second;
  if (!added && !always && inode.version > sampled) return;
  inode.attr = attr;
  inode.until = until;
  inode.version = ++version_;
}

void FakeKernel::Drop(const Fid& fid) {
  const auto at = inodes_.find(fid);
  if (at == inodes_.end()) return;
  at->second.until = Nanos(0);
  at->second.version = ++version_;
}

void FakeKernel::Unpin(const Fid& fid) {
  const auto at = inodes_.find(fid);
  if (--at->second.users > 0 || at->second.lookups > 0) return;
  inodes_.erase(at);
  ++evicted_;
}

async::Task<Result<Attr>> FakeKernel::Lookup(uint32_t who, Fid directory, std::string name) {
  const NameKey key{directory, name};
  auto known = dentries_.find(key);
  if (known != dentries_.end() && Valid(known->second)) {
    const Fid child = known->second.child;
    const Result<Attr> attr = co_await GetAttr(who, child);
    // As a path walk: what is stale is looked up again.
    if (attr || attr.error().code() != Errc::kStale) co_return attr;
    known = dentries_.find(key);
  }
  // A name that is known, though not for how long, is asked for without the directory's lock.
  async::RwGuard guard;
  if (known == dentries_.end()) guard = co_await LockOf(directory)->Shared();
  const uint64_t sampled = version_;
  const uint64_t evicted = evicted_;
  const uint64_t epoch = epoch_;
  const Result<Attr> attr = co_await fs_->Lookup(who, directory, name);
  if (!attr) {
    dentries_.erase(key);
    co_return attr;
  }
  const client::KernelPromise promise = fs_->PromiseEntry(directory, name, *attr);
  const Nanos replied = shard_->Now();
  co_await Travel();
  // An inode that was known, told of something and evicted meanwhile (Linux: evict_ctr).
  const bool fresh = evicted == evicted_ || inodes_.contains(attr->fid);
  Install(*attr, fresh ? replied + promise.attr : Nanos(0), sampled, false);
  ++inodes_[attr->fid].lookups;
  // A name that was only asked for again may have been removed here meanwhile.
  if (guard.held() || dentries_.contains(key)) {
    dentries_[key] = {attr->fid, replied + promise.entry, epoch};
  }
  co_return attr;
}

async::Task<Result<Attr>> FakeKernel::GetAttr(uint32_t who, Fid fid) {
  const auto known = inodes_.find(fid);
  if (known != inodes_.end() && known->second.until > shard_->Now()) {
    ++hits_;
    co_return known->second.attr;
  }
  const uint64_t sampled = version_;
  ++inodes_[fid].users;
  const Result<Attr> attr = co_await fs_->GetAttr(who, fid);
  const Nanos promise = attr ? fs_->PromiseAttr(*attr) : Nanos(0);
  const Nanos replied = shard_->Now();
  co_await Travel();
  if (attr) Install(*attr, replied + promise, sampled, false);
  Unpin(fid);
  co_return attr;
}

async::Task<Result<Attr>> FakeKernel::MakeNode(uint32_t who, Fid directory, std::string name,
                                               client::NodeOptions options) {
  const async::RwGuard guard = co_await LockOf(directory)->Exclusive();
  const uint64_t epoch = epoch_;
  const Result<Attr> made = co_await fs_->MakeNode(who, directory, name, options);
  if (!made) co_return made;
  const client::KernelPromise promise = fs_->PromiseEntry(directory, name, *made);
  const Nanos replied = shard_->Now();
  co_await Travel();
  Install(*made, replied + promise.attr, 0, true);
  ++inodes_[made->fid].lookups;
  dentries_[{directory, name}] = {made->fid, replied + promise.entry, epoch};
  Drop(directory);
  co_return made;
}

async::Task<Result<Attr>> FakeKernel::SetAttr(uint32_t who, Fid fid, client::AttrChange change,
                                              uint64_t handle) {
  ++inodes_[fid].users;
  const Result<Attr> attr = co_await fs_->SetAttr(who, fid, change, handle);
  co_await Travel();
  if (attr) Install(*attr, Nanos(0), 0, true);
  Unpin(fid);
  co_return attr;
}

async::Task<Status> FakeKernel::Unlink(uint32_t who, Fid directory, std::string name) {
  const async::RwGuard guard = co_await LockOf(directory)->Exclusive();
  const Status removed = co_await fs_->Unlink(who, directory, name);
  // At once: that another process may see the name until this reply is in place is a limit of what
  // FUSE can do.
  const auto at = dentries_.find({directory, name});
  if (at != dentries_.end()) {
    Drop(at->second.child);
    dentries_.erase(at);
  }
  if (removed) Drop(directory);
  co_await Travel();
  co_return removed;
}

// d_move: the name goes with what is known of it.
async::Task<Status> FakeKernel::Rename(uint32_t who, Fid old_directory, std::string old_name,
                                       Fid new_directory, std::string new_name, uint32_t flags) {
  const async::RwGuard first =
      co_await LockOf(std::min(old_directory, new_directory))->Exclusive();
  async::RwGuard second;
  if (old_directory != new_directory) {
    second = co_await LockOf(std::max(old_directory, new_directory))->Exclusive();
  }
  const Status renamed =
      co_await fs_->Rename(who, old_directory, old_name, new_directory, new_name, flags);
  if (!renamed) {
    dentries_.erase({old_directory, old_name});
    dentries_.erase({new_directory, new_name});
    co_return renamed;
  }
  const auto replaced = dentries_.find({new_directory, new_name});
  if (replaced != dentries_.end()) Drop(replaced->second.child);
  auto moved = dentries_.extract({old_directory, old_name});
  dentries_.erase({new_directory, new_name});
  if (!moved.empty()) {
    Drop(moved.mapped().child);
    moved.key() = {new_directory, new_name};
    dentries_.insert(std::move(moved));
  }
  Drop(old_directory);
  Drop(new_directory);
  co_return renamed;
}

void FakeKernel::Shrink() {
  for (auto at = inodes_.begin(); at != inodes_.end();) {
    const Fid fid = at->first;
    if (fid == root_ || at->second.users > 0 || random_.Below(2) == 0) {
      ++at;
      continue;
    }
    std::erase_if(dentries_, [&](const auto& entry) { return entry.second.child == fid; });
    fs_->kernel()->Forget(fid, at->second.lookups);
    at = inodes_.erase(at);
    ++evicted_;
  }
}

void FakeKernel::Notify(client::KernelNotice notice) {
  ++working_;
  shard_->Post([this, moved = std::make_shared<client::KernelNotice>(std::move(notice))] {
    shard_->Spawn(Tell(std::move(*moved)));
  });
}

async::Task<void> FakeKernel::Tell(client::KernelNotice notice) {
  while (notice.attributes && !inodes_.contains(notice.fid) &&
         fs_->kernel()->MayKnow(notice.fid, shard_->Now())) {
    co_await shard_->Sleep(kUnknownWait);
  }
  if (notice.attributes) Drop(notice.fid);
  if (notice.names_not_before > shard_->Now()) {
    co_await shard_->Sleep(notice.names_not_before - shard_->Now());
  }
  const auto left = std::make_shared<int>(static_cast<int>(notice.names.size()));
  for (const client::KernelName& name : notice.names) {
    ++working_;
    shard_->Spawn(Expire(name, left));
  }
  for (Nanos waited{0}; *left > 0; waited += kStep) {
    if (waited >= kStuck) {
      ++epoch_;
      break;
    }
    co_await shard_->Sleep(kStep);
  }
  --working_;
  if (notice.done) notice.done();
}

async::Task<void> FakeKernel::Expire(client::KernelName name, std::shared_ptr<int> left) {
  const async::RwGuard guard = co_await LockOf(name.directory)->Exclusive();
  const auto at = dentries_.find({name.directory, name.name});
  if (at != dentries_.end()) at->second.until = Nanos(0);
  --*left;
  --working_;
}

}  // namespace sheen::test
