// KernelNotices: tells the kernel what it must not keep any longer (client/kernel_cache.h), on
// threads of its own: a notice may wait for locks that requests hold, so no shard may send one.
//
//   attributes   INVAL_INODE, which waits for nothing of ours; an inode that the kernel does not
//                know is told again while a reply with it may be on its way
//   data         INVAL_INODE with a range, which waits for reads and writes of it that are under
//                way, and for the write-back of mapped pages. These may wait for a server that does
//                not answer: who wants the pages gone waits for kDataStuck at most, or kDataCrossed
//                while this mount changes the file itself (another one, which does too, may wait)
//   names        INVAL_ENTRY with EXPIRE_ONLY, which waits for the directory's lock. A request of
//                this mount may hold that while it waits for another client, which waits for us:
//                after kStuck INC_EPOCH makes the kernel ask again for every name. It waits for
//                nothing, but mounts inside this one are lost, so it is the last resort.
//
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/filesystem.h"
#include "client/kernel_cache.h"
#include "fuse/session.h"

namespace sheen::fuse {

// What is said to the kernel, each with 0 or -errno for an answer.
struct KernelCalls {
  uint32_t minor = 0;  // it speaks FUSE 7.minor
  std::function<int(fuse_ino_t node)> forget_attributes;
  std::function<int(fuse_ino_t node, int64_t offset, int64_t length)> forget_data;
  std::function<int(fuse_ino_t directory, const std::string& name)> expire_name;
  std::function<int()> raise_epoch;
};
KernelCalls CallsOf(const Session* session);

class KernelNotices final : public client::KernelNotifier {
 public:
  // `filesystem`, and the session of `calls`, outlive this.
  KernelNotices(client::Filesystem* filesystem, KernelCalls calls);
  ~KernelNotices() override;

  // From now on the kernel keeps names and attributes, if it can be told to forget them.
  void Start();
  // Nothing more is told. REQUIRES: the mount is gone or aborted.
  void Stop();
  void Notify(client::KernelNotice notice) override;
  // A request changed `node`, and `name` in it unless empty, and the kernel had no answer to it.
  void NoteLateChange(fuse_ino_t node, const std::string& name);

  // Times that the last resort was taken.
  uint64_t epochs() const { return epochs_.load(); }

 private:
  struct Job {
    client::KernelNotice notice;
    Nanos added{0};
    Nanos begun{0};
    bool finished = false;  // `done` was called
  };
  using JobPtr = std::shared_ptr<Job>;
  // Names that are told once more, lest a reply of that time is only now in place. Nobody waits.
  struct Later {
    Nanos at{0};
    std::vector<client::KernelName> names;
  };
  static constexpr size_t kThreadsMax = 16;
  static constexpr Nanos kStuck = std::chrono::milliseconds(50);
  static constexpr Nanos kDataStuck = std::chrono::seconds(1);
  static constexpr Nanos kDataCrossed = std::chrono::milliseconds(20);

  void Guard();
  void Work();
  // False when the kernel does not know the inode and may learn of it yet, by a reply that is on
  // its way and may be older than what it would be told.
  bool TellAttributes(const client::KernelNotice& notice);
  void TellAttributesUntilKnown(const client::KernelNotice& notice);
  void TellData(const client::KernelNotice& notice);
  void TellNames(const client::KernelNotice& notice);
  void RaiseEpoch();
  void Finish(const JobPtr& job);
  // Jobs that wait for a lock of the kernel's, and that somebody waits for.
  std::vector<JobPtr> TakeStuckLocked(Nanos now);
  // Of data alone, for too long: nothing that the kernel can be told helps.
  std::vector<JobPtr> TakeStuckDataLocked(Nanos now);
  void EndStuck(const std::vector<JobPtr>& stuck);
  void AddJobLocked(client::KernelNotice notice);
  void AddLaterLocked(const std::vector<client::KernelName>& names, Nanos now);
  void StartDueLocked(Nanos now);

  client::Filesystem* const filesystem_;
  const KernelCalls calls_;
  const bool can_tell_;
  std::mutex mutex_;  // guards the rest
  std::condition_variable work_;
  std::condition_variable guard_wake_;
  std::deque<JobPtr> queue_;
  std::vector<JobPtr> running_;
  std::deque<Later> later_;  // by time
  std::vector<std::thread> workers_;
  std::thread guard_;
  size_t idle_ = 0;
  bool stopping_ = false;
  std::atomic<uint64_t> epochs_{0};
};

}  // namespace sheen::fuse
