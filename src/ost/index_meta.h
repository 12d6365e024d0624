// The rows of the index's meta family: which target the index belongs to, the boot count, what was
// committed last. docs/formats/ost.md has the bytes.
//
// Values; thread-safe as such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ost/superblock.h"
#include "sheen/result.h"

namespace sheen::ost {

inline constexpr std::string_view kIdentityRow = "identity";
inline constexpr std::string_view kBootRow = "boot";
inline constexpr std::string_view kClosedRow = "closed";
inline constexpr std::string_view kCommittedRow = "committed";

// The superblock's UUID and generation: an index and a directory that do not belong together are
// noticed (a lost index would turn every object into a hole).
std::string EncodeIdentity(const Superblock& superblock);
// Errors: kCorrupt when the row is not that superblock's.
Status CheckIdentity(std::string_view row, const Superblock& superblock);

struct BootRow {
  uint64_t boot = 0;  // 1 at the first start; below 2^24, so that transnos do not wrap
  // A process died under this kernel without closing the target: what it had written may still be
  // in the kernel's memory only.
  bool inherits_unsynced = false;
  std::string machine_boot_id;  // of the kernel that the boot ran under
};
std::string EncodeBoot(const BootRow& row);
Result<BootRow> DecodeBoot(std::string_view row);

// The last boot that closed the target with everything committed.
std::string EncodeClosed(uint64_t boot);
Result<uint64_t> DecodeClosed(std::string_view row);

struct CommittedRow {
  uint64_t transno = 0;
  int64_t wall_ns = 0;
};
std::string EncodeCommitted(const CommittedRow& row);
Result<CommittedRow> DecodeCommitted(std::string_view row);

}  // namespace sheen::ost
