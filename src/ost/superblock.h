// The superblock of an OST: who the target is and which format its directory holds. One 128-byte
// record in the file `superblock`, written once by Format; docs/formats/ost.md has the bytes.
//
// Values; thread-safe as such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "sheen/result.h"

namespace sheen::ost {

inline constexpr size_t kSuperblockBytes = 128;
inline constexpr uint16_t kFormatVersion = 1;
// Features this code knows. An unknown incompat bit refuses the target; compat bits never do.
inline constexpr uint64_t kKnownIncompat = 0;
inline constexpr size_t kFsnameBytesMax = 8;

struct Superblock {
  uint16_t version = kFormatVersion;
  uint32_t ost_index = 0;
  uint64_t compat = 0;
  uint64_t incompat = 0;
  Uuid uuid;
  uint64_t generation = 1;        // raised when an OST is replaced
  uint64_t size_limit_bytes = 0;  // 0: no limit of its own
  int64_t created_ns = 0;         // wall clock
  std::string fsname;

  bool operator==(const Superblock&) const = default;
  // "sheen-OST0003"
  std::string TargetName() const;
};


std::string EncodeSuperblock(const Superblock& superblock);
// Errors: kCorrupt (length, magic, CRC, reserved bytes), kBadVersion with what was found and known.
Result<Superblock> DecodeSuperblock(std::string_view bytes);

}  // namespace sheen::ost
