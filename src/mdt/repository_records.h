// Records of data repositories: the repository's row, and what an inode's `extra` says of the
// object in S3 that a file was made from. docs/formats/mdt.md is the grammar.
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

struct FileSource {
  uint32_t flags = 0;  // HsmFlag; kHsmReleased: as far as the MDS knows nothing was loaded
  uint32_t link = 0;
  std::string key;
  std::string etag;
  uint64_t size = 0;  // of the object
  int64_t modified_ns = 0;
  bool operator==(const FileSource&) const = default;
};

std::string Encode(const RepositoryRow& row);
std::string Encode(const FileSource& source);
// Errors: kCorrupt, kBadVersion.
Result<RepositoryRow> DecodeRepository(std::string_view bytes);
Result<FileSource> DecodeFileSource(std::string_view bytes);

// Keys in the config family.
inline constexpr std::string_view kRepositoryPrefix = "repository/";
std::string RepositoryKey(uint32_t id);
// u32: ids from it on were never given.
inline constexpr std::string_view kNextRepositoryKey = "next_repository";

}  // namespace sheen::mdt
