// Names, numbers and keys of the metadata store: the column families, the limits, and how keys are
// made. docs/formats/mdt.md shows every key and record byte by byte.
//
// Keys are big-endian, so that rows of one inode or one directory are neighbours in key order.
// Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fid/fid.h"
#include "kv/store.h"

namespace sheen::mdt {

// Stable: the order in which the store is opened. New families go at the end.
enum Family : kv::Family {
  kInodes = 0,     // FID -> Inode
  kDirents = 1,    // parent FID, cookie -> Dirent
  kLinks = 2,      // FID, parent FID, cookie -> Link
  kXattrs = 3,     // FID, name -> Xattr
  kChangelog = 4,  // index -> ChangelogRecord
  kOutbox = 5,     // OST index, transno, number -> OutboxRow
  kOrphans = 6,    // FID -> Orphan: no name left, maybe still open
  kClients = 7,    // session id -> ClientRow
  kSlots = 8,      // session id, slot -> SlotRow
  kConfig = 9,     // name -> Superblock, rows of the management service, changelog users
  kFamilyCount = 10,
};

// For kv::RocksOptions::families.
std::vector<std::string> FamilyNames();

inline constexpr size_t kNameBytesMax = 255;          // NAME_MAX, Linux limits.h
inline constexpr size_t kXattrNameBytesMax = 255;     // XATTR_NAME_MAX
inline constexpr size_t kXattrValueBytesMax = 65536;  // XATTR_SIZE_MAX
inline constexpr size_t kXattrNamesBytesMax = 65536;  // XATTR_LIST_MAX
inline constexpr size_t kSymlinkBytesMax = 4095;      // PATH_MAX without its NUL
inline constexpr uint32_t kLinkCountMax = 2'000'000'000;

// Directory cookies: 63 bits (off_t is signed), with room at the start for "." and ".." and at the
// end so that probing never wraps around.
inline constexpr uint64_t kCookieMin = 16;
inline constexpr uint64_t kProbeCountMax = 4096;
inline constexpr uint64_t kCookieMax = (1ULL << 63) - 1;
inline constexpr uint64_t kHashMax = kCookieMax - kProbeCountMax;

inline constexpr std::string_view kSuperblockKey = "superblock";
inline constexpr std::string_view kCommittedKey = "committed";
inline constexpr std::string_view kMachineBootKey = "machine_boot";

std::string InodeKey(const Fid& fid);
std::string DirentKey(const Fid& parent, uint64_t cookie);
std::string LinkKey(const Fid& fid, const Fid& parent, uint64_t cookie);
std::string XattrKey(const Fid& fid, std::string_view name);
std::string OutboxKey(uint32_t ost_index, uint64_t transno, uint32_t number);
std::string SessionKey(uint64_t session_id);
std::string SlotKey(uint64_t session_id, uint32_t slot);

// First key after every key that starts with `prefix`; empty: there is none.
std::string AfterPrefix(std::string_view prefix);

}  // namespace sheen::mdt
