// Records of the metadata store and their bytes. Every record starts with a version byte; one that
// is higher than this program knows is refused with kBadVersion, one that breaks a rule with
// kCorrupt. docs/formats/mdt.md is the grammar; tests/golden/mdt pins the bytes.
//
// Pure values; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "fid/fid.h"
#include "layout/layout.h"
#include "sheen/result.h"

namespace sheen::mdt {

// Inode::flags.
enum InodeFlag : uint16_t {
  kSizeUnsafe = 1 << 0,    // a client may be writing: size and times are to be asked of the OSTs
  kUnsafeShared = 1 << 1,  // more than one session had it open for write since it became unsafe
  kHasAccessAcl = 1 << 2,   // the xattrs table has system.posix_acl_access of it
  kHasDefaultAcl = 1 << 3,  // likewise system.posix_acl_default
  // mtime is what somebody has set (or brought from S3) since the objects' times were last taken:
  // it may be older than theirs.
  kMtimeSet = 1 << 4,
  kLinkable = 1 << 5,  // made without a name (O_TMPFILE), may be given one
};

struct Inode {
  uint16_t flags = 0;
  uint32_t mode = 0;  // st_mode: type and permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t project_id = 0;
  uint32_t nlink = 0;   // directory: 2 and its subdirectories. 0: in the orphans table
  uint64_t size = 0;    // bytes
  uint64_t blocks = 0;  // of 512 bytes
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  int64_t btime_ns = 0;
  uint64_t rdev = 0;
  uint64_t size_epoch = 0;       // raised by every open for write
  uint64_t unsafe_session = 0;   // first writer since it became unsafe
  uint64_t entry_count = 0;      // directory: names in it
  uint32_t tombstone_count = 0;  // directory: see directory.h
  uint32_t xattr_count = 0;
  uint32_t xattr_name_bytes = 0;  // names and their NULs, as listxattr counts them
  Fid parent;                     // directory: its ".."; the root's is the root
  std::string layout;             // layout::Encode: a file's layout, a directory's default template
  std::string target;             // symbolic link
  std::string extra;              // room for later versions; kept as it was read
  std::string access_acl;         // not of this record: value of its row, where somebody read that

  bool IsDirectory() const { return (mode & 0170000) == 0040000; }
  bool IsRegular() const { return (mode & 0170000) == 0100000; }
  bool IsSymlink() const { return (mode & 0170000) == 0120000; }
  bool size_unsafe() const { return (flags & kSizeUnsafe) != 0; }
  uint8_t DirentType() const { return static_cast<uint8_t>((mode & 0170000) >> 12); }  // DT_*
  bool operator==(const Inode&) const = default;
};

struct Dirent {
  bool tombstone = false;  // keeps a probe chain whole where a name was
  uint8_t type = 0;        // DT_*
  Fid fid;
  std::string name;
  bool operator==(const Dirent&) const = default;
};

struct SlotRow {
  uint64_t xid = 0;
  uint64_t transno = 0;
  std::string reply;  // body of the answer
};

struct ClientRow {
  Uuid client;
  std::array<uint8_t, 16> secret{};
  bool evicted = false;  // by this server, and not every OSS is known to refuse it yet
};

// An effect on one OST, sent when it is durable and deleted when the OST has committed it.
struct OutboxRow {
  enum class Kind : uint8_t { kDestroy = 1, kSetOwner = 2 };
  Kind kind = Kind::kDestroy;
  uint32_t uid = 0;  // kSetOwner
  uint32_t gid = 0;
  uint32_t project_id = 0;
  uint32_t layout_generation = 0;
  std::vector<layout::ObjectId> objects;
};

struct Superblock {
  uint64_t compat = 0;    // features an older program may ignore
  uint64_t incompat = 0;  // features it must know
  std::string fsname;
  uint32_t index = 0;
  Uuid uuid;
  std::array<uint8_t, 16> hash_key{};  // of directory name hashes
  uint64_t boot = 0;
  uint64_t next_sequence = 0;  // to grant to a client
};

inline constexpr uint16_t kFormatVersion = 1;
// Superblock::incompat. Somebody is registered for the changelog: a program that does not know it
// would change things without a record.
inline constexpr uint64_t kChangelogFeature = 1;
inline constexpr uint64_t kKnownIncompat = kChangelogFeature;

std::string Encode(const Inode& inode);
std::string Encode(const Dirent& dirent);
std::string Encode(const SlotRow& row);
std::string Encode(const ClientRow& row);
std::string Encode(const OutboxRow& row);
std::string Encode(const Superblock& superblock);
std::string EncodeLink(std::string_view name);
std::string EncodeXattr(std::string_view value);
std::string EncodeOrphan(int64_t unlinked_ns);
std::string EncodeCommitted(uint64_t transno);

Result<Inode> DecodeInode(std::string_view bytes);
Result<Dirent> DecodeDirent(std::string_view bytes);
Result<SlotRow> DecodeSlot(std::string_view bytes);
Result<ClientRow> DecodeClient(std::string_view bytes);
Result<OutboxRow> DecodeOutbox(std::string_view bytes);
Result<Superblock> DecodeSuperblock(std::string_view bytes);
Result<std::string> DecodeLink(std::string_view bytes);
Result<std::string> DecodeXattr(std::string_view bytes);
Result<int64_t> DecodeOrphan(std::string_view bytes);
Result<uint64_t> DecodeCommitted(std::string_view bytes);

}  // namespace sheen::mdt
