// What a client that has gone holds here: noted for the next start, which then waits for nobody.
// Its locks stand as they did; only who wants the same bytes waits, until they are taken away.
//
//   key    "gone/", session id (u64 big-endian), in the meta family of the server's first target
//   value  u8 version 1, u64 boot, client UUID (16), u32 count, then for each lock: u32 target,
//          object (u64 seq, u32 oid, u32 ver, u64 birth, u32 stripe), u64 id, u64 start, u64 end;
//          CRC32C of all before; little-endian
//
// The row counts at the start that follows the target's boot `boot`, and is written anew then. One
// of an earlier boot is of a time before a program ran that does not know these rows: its client
// may have come back, and have other locks now. It is passed over, and its client waited for as
// one that was there, since it is still among the holders (sessions.cc).
//
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "oss/object_locks.h"
#include "sheen/result.h"

namespace sheen::oss {

// A client that holds more is waited for after a restart, as one that is there.
inline constexpr size_t kGoneLocksMax = 4096;

inline constexpr std::string_view kGonePrefix = "gone/";

struct GoneHolder {
  uint64_t boot = 0;  // of the target that has the row
  Uuid client;
  std::vector<ObjectLocks::Held> locks;
};

std::string GoneKey(uint64_t session_id);
// Nothing: it is no such key.
std::optional<uint64_t> SessionOfGoneKey(std::string_view key);
std::string Encode(const GoneHolder& holder);
// Errors: kCorrupt, kBadVersion.
Result<GoneHolder> DecodeGoneHolder(std::string_view value);

}  // namespace sheen::oss
