// FakeKernel: what Linux's FUSE keeps of one mount, with its locks, for the simulator: names and
// attributes until the time that their reply said, an attribute version that makes an older reply
// worthless, an epoch of names, and each directory's lock, which changes, first lookups and notices
// of names take. Replies take their time to be put in place.
//
// Lookup and the rest are an application's system calls: the same as client::Filesystem's, answered
// from what is kept where possible.
//
// Shard-confined.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "async/rw_lock.h"
#include "base/random.h"
#include "client/filesystem.h"
#include "client/kernel_cache.h"

namespace sheen::test {

class FakeKernel final : public client::KernelNotifier {
 public:
  FakeKernel(async::Shard* shard, client::Filesystem* fs, uint64_t seed);

  const Fid& root() const { return root_; }
  async::Task<Result<client::Attr>> Lookup(uint32_t who, Fid directory, std::string name);
  async::Task<Result<client::Attr>> GetAttr(uint32_t who, Fid fid);
  async::Task<Result<client::Attr>> MakeNode(uint32_t who, Fid directory, std::string name,
                                             client::NodeOptions options);
  async::Task<Result<client::Attr>> SetAttr(uint32_t who, Fid fid, client::AttrChange change,
                                            uint64_t handle);
  async::Task<Status> Unlink(uint32_t who, Fid directory, std::string name);
  async::Task<Status> Rename(uint32_t who, Fid old_directory, std::string old_name,
                             Fid new_directory, std::string new_name, uint32_t flags);
  // Some of what is kept goes, as under memory pressure.
  void Shrink();
  // Ends the ticks. REQUIRES: awaited before this and the filesystem go.
  async::Task<void> Stop();

  void Notify(client::KernelNotice notice) override;

  uint64_t hits() const { return hits_; }
  uint64_t epochs() const { return epoch_ - 1; }

 private:
  struct Dentry {
    Fid child;
    Nanos until{0};
    uint64_t epoch = 0;
  };
  struct Inode {
    client::Attr attr;
    Nanos until{0};
    uint64_t version = 0;
    uint64_t lookups = 0;
    int users = 0;  // system calls at work on it
  };
  using NameKey = std::pair<Fid, std::string>;

  async::AsyncRwLock* LockOf(const Fid& directory) { return &locks_[directory]; }
  bool Valid(const Dentry& dentry) const;
  // A reply on its way.
  async::Task<void> Travel();
  void Install(const client::Attr& attr, Nanos until, uint64_t sampled, bool always);
  void Drop(const Fid& fid);
  // A system call at work on the inode ends: until then it is not evicted.
  void Unpin(const Fid& fid);
  async::Task<void> Tick();
  async::Task<void> Tell(client::KernelNotice notice);
  async::Task<void> Expire(client::KernelName name, std::shared_ptr<int> left);

  async::Shard* const shard_;
  client::Filesystem* const fs_;
  const Fid root_;
  Random random_;
  std::map<NameKey, Dentry> dentries_;
  std::map<Fid, Inode> inodes_;
  std::map<Fid, async::AsyncRwLock> locks_;
  uint64_t version_ = 1;
  uint64_t epoch_ = 1;
  uint64_t evicted_ = 0;
  uint64_t hits_ = 0;
  int working_ = 0;  // notices and ticks
  bool stopping_ = false;
};

}  // namespace sheen::test
