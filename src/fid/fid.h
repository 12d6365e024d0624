// FID: the identity of every object, [0xseq:0xoid:0xver]. Never reused.
//
// Limits (so that the FID packs into a 64-bit inode number without collision):
//   seq < 2^40, oid < 2^24, ver = 0.   ino = seq << 24 | oid.
// Sequences: kRootSequence holds the well-known objects; a client allocates oids in sequences that
// the MDS grants to it (from kFirstClientSequence on), so that creating needs no round trip for
// identity. Immutable values.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace sheen {

struct Fid {
  uint64_t seq = 0;
  uint32_t oid = 0;
  uint32_t ver = 0;

  auto operator<=>(const Fid&) const = default;
  bool empty() const { return seq == 0; }
  // Within the limits above and not empty.
  bool Valid() const { return seq != 0 && seq < (1ULL << 40) && oid < (1U << 24) && ver == 0; }

  // "[0x200000402:0x1f:0x0]"
  std::string ToString() const;
  // With or without brackets. False when it is not a FID.
  static bool Parse(std::string_view text, Fid* out);

  // REQUIRES: Valid().
  uint64_t ToInode() const { return seq << 24 | oid; }
  static Fid FromInode(uint64_t ino) {
    return Fid{ino >> 24, static_cast<uint32_t>(ino & 0xFFFFFF), 0};
  }

  // 12 bytes whose byte order is the FID's order: big-endian seq (8), oid (4). For keys.
  void AppendKey(std::string* out) const;
  static constexpr size_t kKeyBytes = 12;
  static Fid FromKey(std::string_view key);  // REQUIRES: at least kKeyBytes bytes
};

inline constexpr uint64_t kOidPerSequence = 1ULL << 24;
inline constexpr uint64_t kRootSequence = 0x200000007;
inline constexpr uint64_t kDotLustreSequence = 0x200000002;
inline constexpr uint64_t kFirstClientSequence = 0x200000400;
inline constexpr Fid kRootFid{kRootSequence, 1, 0};
// FUSE fixes the root's node id to 1; the front end maps it to kRootFid and back.
inline constexpr uint64_t kFuseRootInode = 1;

}  // namespace sheen

template <>
struct std::hash<sheen::Fid> {
  size_t operator()(const sheen::Fid& fid) const noexcept {
    return (fid.seq << 24 | fid.oid) * 0x9E3779B97F4A7C15ULL >> 7;
  }
};
