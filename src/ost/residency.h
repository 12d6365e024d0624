// Residency: which bytes of an object are here and which are still in S3, in aligned blocks of
// 1 MiB, and where in S3 they are.
//
//   source bytes  |---- block 0 ----|---- block 1 ----|-- 2 --|      3 blocks, the last one short
//   states        |     clean       |     absent      | dirty |  (beyond: an ordinary object)
//
//   kAbsent    S3 has it; the file's bytes there mean nothing
//   kClean     here, as S3 has it
//   kDirty     here, changed
//   kHole      taken away by a punch: whatever S3 has, the file is the truth
//   kUnsynced  as kDirty, on the disk's row: written, and not yet known to survive power loss. True
//              under the kernel that wrote it (`machine`), absent under any other.
//
// docs/formats/ost.md has the bytes; residency.cc owns the encoding. Values; thread-safe as such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::ost {

inline constexpr uint64_t kResidencyBlockBytes = 1 << 20;

enum class BlockState : uint8_t {
  kAbsent = 0,
  kClean = 1,
  kDirty = 2,
  kHole = 3,
  kUnsynced = 4,
};

// Where an object's bytes come from. The object is stripe `stripe` of a file that is striped
// RAID0 from its beginning.
struct ObjectSource {
  uint32_t link = 0;  // id of the data repository
  std::string key;
  std::string etag;   // with its quotes
  uint64_t stripe_bytes = 0;
  uint32_t stripe_count = 1;
  uint32_t stripe = 0;
  uint64_t bytes = 0;  // of the object: [0, bytes) may be in S3, what is beyond never was

  // Offset in S3's object of an object's byte; contiguous up to the next multiple of stripe_bytes.
  uint64_t FileOffset(uint64_t object_offset) const;
  bool operator==(const ObjectSource&) const = default;
};

struct Residency {
  ObjectSource source;
  uint64_t machine = 0;  // of kUnsynced: hash of the kernel's boot id
  std::vector<BlockState> blocks;

  static Residency AllAbsent(ObjectSource source);
  bool operator==(const Residency&) const = default;

  // The bytes that come from S3 in a block: [begin, end).
  struct Part {
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  Part PartOf(uint64_t block) const;
  // Blocks whose part [offset, offset + length) touches.
  struct Blocks {
    uint64_t first = 0;
    uint64_t last = 0;  // exclusive
  };
  Blocks Touched(uint64_t offset, uint64_t length) const;
  bool Covers(uint64_t offset, uint64_t length, uint64_t block) const;
  // Absent blocks that must be filled before [offset, offset + length) is read, or (`change`)
  // before it is changed: those that it covers need not. The first `blocks_max` of them.
  std::vector<uint64_t> Needed(uint64_t offset, uint64_t length, bool change,
                               size_t blocks_max = SIZE_MAX) const;
  // Of an absent block that holds `offset`: the end of its part; else 0.
  uint64_t AbsentUntil(uint64_t offset) const;
  // First absent byte at or after `offset`; UINT64_MAX: none.
  uint64_t NextAbsent(uint64_t offset) const;
  // Bytes from `bytes` on are not S3's any more.
  void CutTo(uint64_t bytes);
  // After a start under `machine`, or on a new file: what was not synced under it is absent.
  void ForgetUnsynced(uint64_t current_machine);
  uint64_t CountBytes(BlockState state) const;
};

std::string EncodeResidency(const Residency& residency);
// Errors: kCorrupt, kBadVersion.
Result<Residency> DecodeResidency(std::string_view bytes);

}  // namespace sheen::ost
