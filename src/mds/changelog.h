// Changelog: records of what operations change, for programs that follow the filesystem (Lustre's
// changelog). An operation notes a record (LogChange); the runner numbers it and puts it into the
// operation's batch, so it is there exactly when the change is. Only what somebody has registered
// for is noted; with nobody registered an operation pays for one load.
//
//   index:  1 2 3 . . 7 8 9 | 10 (in flight) 11
//               ^purged   ^LowWater: readers see up to here, so that none is skipped
//
// Numbers are taken just before the batch is written; those of a batch that was given up stay gaps.
// A reader is answered when what it is shown survives power loss, so no number is seen twice with
// different records. Rows of users: mdt::ChangelogState, changed by operations (ops/changelog.cc)
// under the superblock's latch.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mdt/changelog_records.h"
#include "mdt/mdt.h"

namespace sheen::mds {

struct OpContext;

// What lctl can turn; Lustre's names and defaults (mdd.*.changelog_*).
struct ChangelogLimits {
  std::atomic<bool> collect{true};                       // changelog_gc
  std::atomic<uint64_t> idle_seconds_max{2'592'000};     // changelog_max_idle_time
  std::atomic<uint64_t> idle_indexes_max{2'097'446'912};  // changelog_max_idle_indexes
  std::atomic<uint64_t> interval_seconds{3600};          // changelog_min_gc_interval
};

class Changelog final {
 public:
  // Of users that are this far behind, the last one is given up when the MDT's disk is full.
  static constexpr uint64_t kBehindOnFullDisk = 65'536;

  // Before the first request. Blocks. Errors: the store's.
  Status Load(mdt::Mdt* mdt);
  // The users have changed: reads them again. Blocks.
  Status Reload();
  // Types that are to be noted; 0: nobody is registered.
  mdt::LogMask wanted() const { return wanted_.load(std::memory_order_relaxed); }

  // Every index up to it is a record in the log, or never will be one.
  uint64_t LowWater() const { return numbers_->LowWater(); }
  // The highest that was given.
  uint64_t Last() const { return numbers_->Last(); }
  uint64_t Begin() { return numbers_->Begin(); }
  void Finish(uint64_t index) { numbers_->Finish(index); }

  // changelog_mask: noted besides what users asked for, while there is a user.
  std::string MaskText() const;
  Status SetMask(const std::string& text);
  ChangelogLimits& limits() { return limits_; }
  // Blocks. Errors: the store's.
  Result<mdt::ChangelogState> ReadState() const;
  // Lustre's changelog_users.
  std::string UsersText(int64_t now_ns) const;

  // A user that is to be given up, and why.
  struct Overdue {
    std::string user;
    std::string why;
  };
  // By the limits; with a full disk also who is furthest behind. Blocks.
  std::optional<Overdue> FindOverdue(int64_t now_ns, bool disk_full) const;

 private:
  mdt::Mdt* mdt_ = nullptr;
  std::optional<mdt::TransnoTracker> numbers_;
  std::atomic<mdt::LogMask> wanted_{0};
  std::atomic<mdt::LogMask> mask_{mdt::LogBit(mdt::LogType::kMark)};
  std::mutex reload_mutex_;  // one Reload at a time
  ChangelogLimits limits_;
};

// Numbers for the records of one batch, given back when it has been written or given up.
class LogNumbers final {
 public:
  explicit LogNumbers(Changelog* log) : log_(log) {}
  ~LogNumbers();
  LogNumbers(const LogNumbers&) = delete;
  LogNumbers& operator=(const LogNumbers&) = delete;
  void Put(const std::vector<mdt::ChangelogRecord>& records, mdt::Txn* txn);

 private:
  Changelog* const log_;
  std::vector<uint64_t> taken_;
};

// mdt::ChangelogRecord, but for what the context knows.
struct LogEntry {
  mdt::LogType type = mdt::LogType::kMark;
  uint16_t flags = 0;
  Fid fid;
  Fid parent = {};
  std::string_view name = {};
  Fid source = {};
  Fid source_parent = {};
  std::string_view source_name = {};
  uint32_t open_mode = 0;
  std::string_view xattr = {};
};
bool IsLogged(const OpContext& context, mdt::LogType type);
// Nothing when nobody asked for the type.
void LogChange(OpContext* context, const LogEntry& entry);
// A new inode, by its kind.
void LogMade(OpContext* context, const Fid& parent, std::string_view name, const Fid& fid,
             const mdt::Inode& inode);
// mdt::LogFlag of an inode that has just lost a name.
uint16_t LostNameFlags(const mdt::Inode& inode);
// Of open(2) flags, as Lustre keeps them of a handle: access in the lowest bits, then O_CREAT,
// O_EXCL, O_TRUNC, O_APPEND.
uint16_t LogOpenFlags(uint32_t open_flags);

}  // namespace sheen::mds
