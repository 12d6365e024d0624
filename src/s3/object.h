// What S3 says of objects and buckets.
//
// Immutable values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "s3/signer.h"

namespace sheen::s3 {

// POSIX attributes kept with an object, as user metadata "x-amz-meta-NAME":
//   file-permissions  octal st_mode with type bits ("0100644"); setuid is dropped
//   file-owner, file-group   decimal
//   file-atime, file-mtime   integer, "ns" behind it: nanoseconds since 1970; else milliseconds
// A value that is none is as good as absent.
struct PosixMetadata {
  std::optional<uint32_t> mode;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<Nanos> atime;
  std::optional<Nanos> mtime;
};
// Of names without the "x-amz-meta-".
PosixMetadata ParsePosixMetadata(const NameValues& metadata);

// Something that can be asked for by If-Match: printable, and not empty.
bool IsETag(std::string_view text);

// GLACIER and DEEP_ARCHIVE must be restored before they can be read; GLACIER_IR need not.
bool IsArchived(std::string_view storage_class);

struct ObjectInfo {
  uint64_t size = 0;
  std::string etag;           // opaque, with its quotes: changes when the content does
  Nanos last_modified{0};     // wall clock
  std::string version_id;     // empty: the bucket keeps none
  std::string storage_class;  // empty: STANDARD
  bool readable = true;       // false: archived, and not restored
  std::string content_type;
  NameValues metadata;        // user metadata, names in lower case without "x-amz-meta-"
};

struct ListEntry {
  std::string key;
  uint64_t size = 0;
  std::string etag;
  Nanos last_modified{0};
  std::string storage_class;
  bool readable = true;  // as far as a listing tells: a restored archive is not seen
};

struct ListPage {
  std::vector<ListEntry> entries;
  std::vector<std::string> prefixes;  // up to and with the delimiter
  bool truncated = false;
  std::string next_token;             // for the next page, when truncated
};

}  // namespace sheen::s3
