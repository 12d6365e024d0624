#include "mdt/directory.h"

#include "base/bytes.h"

namespace sheen::mdt {
namespace {

constexpr uint64_t Rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

struct SipState {
  uint64_t v0, v1, v2, v3;
  void Round() {
    v0 += v1;
    v1 = Rotate(v1, 13) ^ v0;
    v0 = Rotate(v0, 32);
    v2 += v3;
    v3 = Rotate(v3, 16) ^ v2;
    v0 += v3;
    v3 = Rotate(v3, 21) ^ v0;
    v2 += v1;
    v1 = Rotate(v1, 17) ^ v2;
    v2 = Rotate(v2, 32);
  }
  void Absorb(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

Result<std::optional<Dirent>> ReadEntry(const Txn& txn, const Fid& parent, uint64_t cookie) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes,
                   txn.Get(kDirents, DirentKey(parent, cookie)));
  if (!bytes) return std::optional<Dirent>();
  SHEEN_TRY_ASSIGN(Dirent entry, DecodeDirent(*bytes));
  return std::optional(std::move(entry));
}

void PutTombstone(Txn* txn, const Fid& parent, uint64_t cookie) {
  txn->Put(kDirents, DirentKey(parent, cookie), Encode(Dirent{.tombstone = true}));
}

// Makes [hash, cookie) a run without gaps, so that a lookup that starts at the hash arrives.
// False: `cookie` is taken, or not after the hash.
Result<bool> PrepareDecided(Txn* txn, const Fid& parent, Inode* directory, uint64_t hash,
                            uint64_t cookie) {
  if (cookie < hash || cookie - hash >= kProbeCountMax) return false;
  SHEEN_TRY_ASSIGN(const std::optional<Dirent> there, ReadEntry(*txn, parent, cookie));
  if (there && !there->tombstone) return false;
  if (there) --directory->tombstone_count;
  for (uint64_t at = hash; at < cookie; ++at) {
    SHEEN_TRY_ASSIGN(const std::optional<Dirent> before, ReadEntry(*txn, parent, at));
    if (before) continue;
    PutTombstone(txn, parent, at);
    ++directory->tombstone_count;
  }
  return true;
}

}  // namespace

uint64_t SipHash(const std::array<uint8_t, 16>& key, std::string_view name) {
  const uint64_t k0 = LoadLittle<uint64_t>(key.data());
  const uint64_t k1 = LoadLittle<uint64_t>(key.data() + 8);
  SipState s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
             k1 ^ 0x7465646279746573};
  size_t at = 0;
  for (; at + 8 <= name.size(); at += 8) s.Absorb(LoadLittle<uint64_t>(name.data() + at));
  uint64_t last = static_cast<uint64_t>(name.size()) << 56;
  std::memcpy(&last, name.data() + at, name.size() - at);
  s.Absorb(last);
  s.v2 ^= 0xFF;
  for (int i = 0; i < 4; ++i) s.Round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t NameHash::operator()(std::string_view name) const {
  uint64_t hash = function(key, name) & kCookieMax;
  if (hash < kCookieMin) hash += kCookieMin;
  if (hash > kHashMax) hash -= 2 * kProbeCountMax;
  return hash;
}

Result<Found> FindEntry(const Txn& txn, const NameHash& hash, const Fid& parent,
                        std::string_view name) {
  Found found;
  const uint64_t start = hash(name);
  for (uint64_t cookie = start; cookie < start + kProbeCountMax; ++cookie) {
    SHEEN_TRY_ASSIGN(std::optional<Dirent> entry, ReadEntry(txn, parent, cookie));
    if (entry && !entry->tombstone) {
      if (entry->name != name) continue;
      found.cookie = cookie;
      found.entry = std::move(entry);
      return found;
    }
    if (found.free_cookie == 0) {
      found.free_cookie = cookie;
      found.free_is_tombstone = entry.has_value();
    }
    if (!entry) break;
  }
  return found;
}

Result<uint64_t> InsertEntry(Txn* txn, const NameHash& hash, const Fid& parent, Inode* directory,
                             const Found& place, const Dirent& entry, uint64_t decided_cookie) {
  uint64_t cookie = place.free_cookie;
  bool decided = false;
  if (decided_cookie != 0 && decided_cookie != cookie) {
    SHEEN_TRY_ASSIGN(decided,
                     PrepareDecided(txn, parent, directory, hash(entry.name), decided_cookie));
  }
  if (decided) {
    cookie = decided_cookie;
  } else if (cookie == 0) {
    return Fail(Errc::kNoSpace, "directory " + parent.ToString() +
                                    ": too many names with neighbouring hashes; use another name");
  } else if (place.free_is_tombstone) {
    --directory->tombstone_count;
  }
  txn->Put(kDirents, DirentKey(parent, cookie), Encode(entry));
  ++directory->entry_count;
  return cookie;
}

Status RemoveEntry(Txn* txn, const Fid& parent, Inode* directory, uint64_t cookie) {
  --directory->entry_count;
  SHEEN_TRY_ASSIGN(const std::optional<Dirent> next, ReadEntry(*txn, parent, cookie + 1));
  if (next) {
    PutTombstone(txn, parent, cookie);
    ++directory->tombstone_count;
    return {};
  }
  txn->Delete(kDirents, DirentKey(parent, cookie));
  for (uint64_t at = cookie - 1; directory->tombstone_count > 0 && at >= kCookieMin; --at) {
    SHEEN_TRY_ASSIGN(const std::optional<Dirent> before, ReadEntry(*txn, parent, at));
    if (!before || !before->tombstone) break;
    txn->Delete(kDirents, DirentKey(parent, at));
    --directory->tombstone_count;
  }
  return {};
}

void ReplaceEntry(Txn* txn, const Fid& parent, uint64_t cookie, const Dirent& entry) {
  txn->Put(kDirents, DirentKey(parent, cookie), Encode(entry));
}

}  // namespace sheen::mdt
