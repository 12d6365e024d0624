// Directory entries: names to FIDs, in an order that readdir can resume from.
//
// An entry's cookie is the 63-bit hash of its name (SipHash-2-4 under the filesystem's own key, so
// that nobody can choose names that collide); the name itself is in the value. A name whose hash is
// taken by another gets the next free cookie:
//
//   hash(a) = hash(b) = 100, hash(c) = 101, inserted a, b, c:   100: a   101: b   102: c
//
// A lookup starts at the hash and walks on until it meets the name or a cookie with no row. So a
// removal from the middle of a run leaves a tombstone row, which an insertion may use again; a
// removal at the end of a run deletes its row and the tombstones right before it. Hence a tombstone
// is always followed by a row, a directory without names has no rows, and a cookie never changes
// while its name exists.
//
// Pure over Txn. REQUIRES of all that change: the caller holds the directory's latch and writes
// `directory` (counts) back itself.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "mdt/records.h"
#include "mdt/txn.h"

namespace sheen::mdt {

// The hash as a seam: tests put a weak one in, so that everything collides.
struct NameHash {
  using Function = uint64_t (*)(const std::array<uint8_t, 16>& key, std::string_view name);
  Function function = nullptr;
  std::array<uint8_t, 16> key{};
  // In [kCookieMin, kHashMax].
  uint64_t operator()(std::string_view name) const;
};

// SipHash-2-4 (Aumasson and Bernstein, 2012), 64-bit result.
uint64_t SipHash(const std::array<uint8_t, 16>& key, std::string_view name);

struct Found {
  std::optional<Dirent> entry;
  uint64_t cookie = 0;  // of the entry
  // Where the name would go; meaningful when there is no entry. 0: the run is full.
  uint64_t free_cookie = 0;
  bool free_is_tombstone = false;
};

// Errors: kWouldBlock, kIo, kCorrupt, kBadVersion.
Result<Found> FindEntry(const Txn& txn, const NameHash& hash, const Fid& parent,
                        std::string_view name);
// `place` is from FindEntry in the same transaction. `decided_cookie` (0: none) is what a replayed
// operation got the first time; it is taken if it is free and can be found from the hash. Gives
// the cookie. Errors: kNoSpace (kProbeCountMax names with neighbouring hashes).
Result<uint64_t> InsertEntry(Txn* txn, const NameHash& hash, const Fid& parent, Inode* directory,
                             const Found& place, const Dirent& entry, uint64_t decided_cookie);
Status RemoveEntry(Txn* txn, const Fid& parent, Inode* directory, uint64_t cookie);
// The name at `cookie` now means another inode.
void ReplaceEntry(Txn* txn, const Fid& parent, uint64_t cookie, const Dirent& entry);

}  // namespace sheen::mdt
