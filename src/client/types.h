// What the client library's operations take and give: plain values, no wire messages.
//
// Immutable values; thread-safe as far as std::string is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "layout/layout.h"
#include "lock/file_locks.h"

namespace sheen::client {

using LayoutPtr = std::shared_ptr<const layout::Layout>;

// Who asks: an id from Filesystem::CredentialFor. 0 is uid 0, gid 0.
using CredentialId = uint32_t;

struct Attr {
  Fid fid;
  uint32_t mode = 0;  // type and permission bits, as st_mode
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  uint32_t project_id = 0;
  uint64_t size = 0;
  uint64_t blocks = 0;  // of 512 bytes
  int64_t atime_ns = 0;  // since 1970 UTC
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  int64_t btime_ns = 0;
  uint64_t rdev = 0;
  // Size, blocks and mtime are the MDS's own and may be old: only in the entries of ReadDir, which
  // asks no OST. Everywhere else the operation has asked and the flag only tells that somebody may
  // be writing.
  bool size_unsafe = false;
  uint64_t size_epoch = 0;
  bool has_access_acl = false;
  bool has_default_acl = false;
  bool no_xattrs = false;  // none at all; else unknown
  bool mtime_set = false;  // it may be older than the objects'

  bool operator==(const Attr&) const = default;
};

struct AttrChange {
  uint32_t valid = 0;  // v1::SetAttrValid bits, without SET_TRUNCATED
  bool set_size = false;
  uint64_t size = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  bool atime_now = false;
  bool mtime_now = false;
};

struct CreateOptions {
  uint32_t mode = 0;           // permission bits, before the umask
  uint32_t umask = 0;
  uint32_t flags = 0;          // O_* of open(2)
  std::string layout_template;  // layout::Encode; empty: the directory's default
  // Not empty: without a name, owned as this open file, to take a copy of its bytes.
  Fid copy_of;
  bool own_layout = false;  // with copy_of: as the file's is
};

// How the servers are to look at a file's objects.
enum class DataLook : uint8_t {
  kFlushed,  // what others hold back is written first
  kAsIs,
  kAlone,    // and they keep no lock
};

// lfs setstripe --component-add, --component-del.
enum class LayoutEdit : uint8_t { kNone, kAdd, kDelete, kFlags };
struct LayoutChange {
  LayoutEdit edit = LayoutEdit::kNone;
  uint32_t component_id = 0;  // kDelete; 0: all that have no objects. kFlags
  uint32_t set_flags = 0;     // kFlags: layout::ComponentFlag bits
  uint32_t clear_flags = 0;
};

// One step of a migrate.
struct CopyStep {
  uint64_t next = 0;    // where to go on; at the file's size it is copied
  uint64_t size = 0;
  uint64_t copied = 0;  // bytes, without holes
};

struct NodeOptions {
  uint32_t mode = 0;  // with type; permission bits before the umask
  uint32_t umask = 0;
  uint64_t rdev = 0;
};

struct Opened {
  Attr attr;
  uint64_t handle = 0;
  bool created = false;
};

struct DirEntry {
  std::string name;
  Fid fid;
  uint64_t cookie = 0;  // position after this entry; at least 3
  uint32_t type = 0;    // DT_*
  Attr attr;            // with plus
  bool has_attr = false;
};

struct DirBatch {
  std::vector<DirEntry> entries;
  bool end = false;
  Fid parent;  // of the directory itself: ".."
};

// One target of the filesystem, as lfs df shows it.
struct TargetSpace {
  std::string name;  // "sheen-OST0000"
  std::string server;
  bool is_mdt = false;
  bool up = false;
  bool limited = false;  // has a size of its own
  uint32_t index = 0;
  uint64_t bytes_total = 0;
  uint64_t bytes_free = 0;
  uint64_t bytes_available = 0;
  uint64_t files_total = 0;
  uint64_t files_free = 0;
  uint64_t device = 0;  // unique over machines; the same: one disk
  std::string state;    // letters of lfs df
};

struct SpaceSummary {
  uint64_t bytes_total = 0;
  uint64_t bytes_free = 0;
  uint64_t bytes_available = 0;
  uint64_t files_total = 0;
  uint64_t files_free = 0;
};

struct LayoutAnswer {
  std::string encoded;  // layout::Encode; empty: a file that has none yet
  bool inherited = false;
};

// A lock of flock(2) or fcntl(2). OFD locks look like POSIX locks of another owner here.
struct FileLockSpec {
  lock::FileLockKind kind = lock::FileLockKind::kPosix;
  lock::FileLockType type = lock::FileLockType::kRead;
  lock::Extent extent;
  uint64_t owner = 0;  // the kernel's
  uint32_t pid = 0;    // 0: of another client
};

struct LockWait {
  bool wait = false;    // until it is free, else kAgain
  uint64_t ticket = 0;  // of NewLockTicket; 0: it will not be interrupted
};

enum class SeekKind : uint8_t { kData, kHole };

// What an opening of a directory tells the kernel: to keep no listing, to begin a new one, or to go
// on with the one that it may have.
enum class KernelListing : uint8_t { kNone, kNew, kKeep };

// How long the caller may keep an answer; 0: not at all.
struct KernelPromise {
  Nanos attr{0};
  Nanos entry{0};
};

struct WriteOptions {
  bool sync = false;         // O_SYNC, O_DSYNC: on disk before the answer
  bool append = false;       // O_APPEND: the end of the file is asked for first
  bool direct = false;       // never held back: O_DIRECT, write-back of mapped pages
  // The kernel has not taken away what a write takes away, as it does for writes through its cache:
  // file capabilities, and with drop_set_ids the set-id bits.
  bool uncached = false;
  bool drop_set_ids = false;
};

}  // namespace sheen::client
