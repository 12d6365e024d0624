// Records of data repositories: the repository's row, and what an inode's `extra` says of the
// object in S3 that a file was made from. docs/formats/mdt.md is the grammar.
//
// A directory's says that an import made it: on the way to something below it (no etag), or of an
// object of its own.
//
// Pure values; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fid/fid.h"
#include "sheen/result.h"

namespace sheen::mdt {

struct RepositoryRow {
  uint32_t id = 0;
  std::string path;  // of the directory, "/data"
  Fid directory;
  std::string bucket;
  std::string prefix;
  std::string endpoint;
  std::string region;
  bool path_style = false;
  std::string profile;
  std::string credentials_file;
  uint64_t chunk_bytes = 0;
  uint32_t concurrency = 0;
  double requests_per_second = 0;
  double bytes_per_second = 0;
  int64_t created_ns = 0;
  uint32_t import_what = 0;     // v1::ImportPolicy bits: taken over from S3 by itself
  uint32_t import_every_s = 0;  // 0: never
  bool no_head = false;
  bool operator==(const RepositoryRow&) const = default;
};

// Lustre's words for the state of a file with a copy elsewhere (struct hsm_user_state).
enum HsmFlag : uint32_t {
  kHsmExists = 0x1,
  kHsmDirty = 0x2,
  kHsmReleased = 0x4,
  kHsmArchived = 0x8,
  kHsmNoRelease = 0x10,
  kHsmNoArchive = 0x20,
  kHsmLost = 0x40,
};
// FileSource::flags, none of Lustre's: only what a listing says is known. Owner, mode and whether
// it is a symbolic link are asked of S3 before anybody sees them.
inline constexpr uint32_t kSourcePending = 0x10000;

struct FileSource {
  // HsmFlag (kHsmReleased: as far as the MDS knows nothing was loaded), kSourcePending.
  uint32_t flags = 0;
  uint32_t link = 0;
  std::string key;
  std::string etag;
  uint64_t size = 0;  // of the object
  int64_t modified_ns = 0;
  bool operator==(const FileSource&) const = default;
};

// A restore that was asked for and has not ended.
struct HsmActionRow {
  uint32_t action = 0;      // Lustre's HUA_*
  Fid fid;
  uint64_t job = 0;         // the client's name for several together
  int64_t requested_ns = 0; // wall clock
  bool operator==(const HsmActionRow&) const = default;
};

std::string Encode(const RepositoryRow& row);
std::string Encode(const FileSource& source);
std::string Encode(const HsmActionRow& row);
// Errors: kCorrupt, kBadVersion.
Result<RepositoryRow> DecodeRepository(std::string_view bytes);
Result<FileSource> DecodeFileSource(std::string_view bytes);
Result<HsmActionRow> DecodeHsmAction(std::string_view bytes);
// Of an encoded FileSource, or of nothing: whether it is pending, without reading the rest.
bool IsPendingSource(std::string_view bytes);

// Keys in the config family.
inline constexpr std::string_view kRepositoryPrefix = "repository/";
std::string RepositoryKey(uint32_t id);
// The row of one that was removed, so that the same place in S3 gets its id again: files whose data
// is not here can be read again then.
inline constexpr std::string_view kFormerRepositoryPrefix = "former_repository/";
std::string FormerRepositoryKey(uint32_t id);
// Names an action: the transno of the request, and its place in it. In this order they are done.
struct HsmCookie {
  uint64_t transno = 0;
  uint32_t number = 0;
  auto operator<=>(const HsmCookie&) const = default;
};
// One for each pending inode: link and FID. The value is its version.
inline constexpr std::string_view kPendingPrefix = "pending/";
std::string PendingPrefix(uint32_t link);
std::string PendingKey(uint32_t link, const Fid& fid);
std::string EncodePending();
struct PendingRow {
  uint32_t link = 0;
  Fid fid;
};
// Errors: kCorrupt.
Result<PendingRow> DecodePendingKey(std::string_view key);
// One for each repository that no import has named all keys of: names that are not here are asked
// of S3. The value is its version.
inline constexpr std::string_view kUnlistedPrefix = "unlisted/";
std::string UnlistedKey(uint32_t link);
std::string EncodeUnlisted();
// Errors: kCorrupt.
Result<uint32_t> DecodeUnlistedKey(std::string_view key);
// One for each key of such a repository whose name was taken away here: it does not come back.
// `key` without "/" at its end. The value is its version.
inline constexpr std::string_view kTakenAwayPrefix = "taken_away/";
std::string TakenAwayPrefix(uint32_t link);
std::string TakenAwayKey(uint32_t link, std::string_view key);
inline constexpr std::string_view kHsmActionPrefix = "hsm_action/";
std::string HsmActionKey(const HsmCookie& cookie);
// Errors: kCorrupt.
Result<HsmCookie> DecodeHsmActionKey(std::string_view key);
// u32: ids from it on were never given.
inline constexpr std::string_view kNextRepositoryKey = "next_repository";

}  // namespace sheen::mdt
