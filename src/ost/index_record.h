// The index's rows: an object's key, its record, a tombstone. docs/formats/ost.md describes them
// byte by byte; index_record.cc owns the encoding.
//
// Values; thread-safe as such.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fid/fid.h"
#include "layout/layout.h"
#include "ost/residency.h"
#include "sheen/result.h"

namespace sheen::ost {

// 24 bytes in the order of (FID, birth, stripe): FID key (12), birth (8), stripe (4), big-endian.
inline constexpr size_t kObjectKeyBytes = 24;
std::string ObjectKey(const layout::ObjectId& id);
// Errors: kCorrupt (length).
Result<layout::ObjectId> DecodeObjectKey(std::string_view key);

// An operation that was made durable before the file was touched.
enum class PendingKind : uint32_t { kNone = 0, kTruncate = 1, kPunch = 2, kZero = 3 };

struct PendingOperation {
  PendingKind kind = PendingKind::kNone;
  uint64_t offset = 0;  // kTruncate: the size
  uint64_t length = 0;
  bool operator==(const PendingOperation&) const = default;
};

// Parts that only some objects have. Tags are stable; an unknown one with kSectionCritical refuses
// the record, others are kept as they are.
enum class SectionTag : uint16_t {
  kBlockChecksums = 1,
  kResidency = 2,   // never written: kSource has it
  kLateWrites = 3,  // last xid per client
  kName = 4,        // at creation
  kInFlight = 5,    // ranges noted before an overwrite
  kSource = 6,      // residency.h; critical: without it absent bytes would read as holes
};
inline constexpr uint16_t kSectionCritical = 1;

struct Section {
  uint16_t tag = 0;
  uint16_t flags = 0;
  std::string bytes;
  bool operator==(const Section&) const = default;
};

struct IndexRecord {
  bool created_uncommitted = false;  // the file may not be there yet
  bool pending_done = false;         // the pending operation was done, but is not yet synced
  uint32_t block_bytes = 0;          // of the block checksums; 0: none are kept
  uint64_t size = 0;                 // committed: the file is at least so long
  uint64_t allocated_bytes = 0;      // what the object counts against the target's limit
  uint64_t preallocated_end = 0;     // end of space allocated beyond the size (KEEP_SIZE)
  uint64_t last_transno = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t project_id = 0;
  uint32_t layout_generation = 0;
  uint32_t fence_generation = 0;  // writes with an older layout generation are refused
  PendingOperation pending;
  Fid parent;                   // at creation
  int64_t created_ns = 0;       // wall clock
  uint64_t committed_boot = 0;  // boot count of the target when it last committed the row
  std::optional<Residency> residency;  // kSource: what of it may be relied on after a crash
  std::vector<Section> sections;       // the others

  bool operator==(const IndexRecord&) const = default;
};

std::string EncodeRecord(const IndexRecord& record);
// Errors: kCorrupt, kBadVersion (version, flag or critical section not known here).
Result<IndexRecord> DecodeRecord(std::string_view bytes);

// When an object was destroyed, wall clock.
std::string EncodeTombstone(int64_t destroyed_ns);
Result<int64_t> DecodeTombstone(std::string_view bytes);

// "objects/3f/a0/200000400_1f_10000000007_0" under `directory`: two bytes of the key's CRC32C.
std::string ObjectDirectory(const std::string& directory, uint32_t hash);
std::string ObjectPath(const std::string& directory, const layout::ObjectId& id);
// 0..65535: which of the hashed directories.
uint32_t DirectoryHash(const layout::ObjectId& id);

}  // namespace sheen::ost
