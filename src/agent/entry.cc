#include "agent/entry.h"

#include <sys/stat.h>

#include <string>

namespace sheen::agent {
namespace {

constexpr size_t kNameBytesMax = 255;
constexpr uint32_t kDefaultMode = 0755;

Status CheckPath(std::string_view path) {
  if (path.find('\0') != path.npos) return Fail(Errc::kInvalid, "the key has a NUL byte");
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty()) return Fail(Errc::kInvalid, "the key has an empty component ('//')");
    if (part == "." || part == "..") {
      return Fail(Errc::kInvalid, "the key has the component '" + std::string(part) + "'");
    }
    if (part.size() > kNameBytesMax) {
      return Fail(Errc::kInvalid, "the key has a component of more than 255 bytes");
    }
    at = end + 1;
  }
  return {};
}

}  // namespace

Result<v1::ImportEntry> EntryOf(std::string_view prefix, const s3::ListEntry& listed) {
  v1::ImportEntry entry;
  std::string_view path = listed.key;
  path.remove_prefix(std::min(prefix.size(), path.size()));
  entry.set_mode(S_IFREG | kDefaultMode);
  if (path.ends_with('/') || path.empty()) {
    entry.set_mode(S_IFDIR | kDefaultMode);
    if (!path.empty()) path.remove_suffix(1);
  }
  if (!path.empty() || !listed.key.ends_with('/')) SHEEN_TRY(CheckPath(path));
  if (!s3::IsETag(listed.etag)) {
    return Fail(Errc::kInvalid,
                "S3 lists it without an ETag: nothing would tell its versions apart");
  }
  entry.set_path(std::string(path));
  entry.set_key(listed.key);
  entry.set_size(listed.size);
  entry.set_etag(listed.etag);
  entry.set_modified_ns(listed.last_modified.count());
  entry.set_mtime_ns(listed.last_modified.count());
  return entry;
}

v1::ImportEntry EntryOfKey(const std::string& key) {
  v1::ImportEntry entry;
  entry.set_key(key);
  entry.set_mode((key.ends_with('/') ? S_IFDIR : S_IFREG) | kDefaultMode);
  return entry;
}

void AddAttributes(const s3::ObjectInfo& info, v1::ImportEntry* entry) {
  const s3::PosixMetadata posix = s3::ParsePosixMetadata(info.metadata);
  const bool directory = S_ISDIR(entry->mode());
  if (posix.mode) {
    const bool link = S_ISLNK(*posix.mode);
    const uint32_t type = directory ? S_IFDIR : link ? S_IFLNK : S_IFREG;
    entry->set_mode(type | (*posix.mode & 03777));
  }
  entry->set_given((posix.mode ? v1::GIVEN_MODE : 0U) | (posix.uid ? v1::GIVEN_UID : 0U) |
                   (posix.gid ? v1::GIVEN_GID : 0U));
  if (posix.uid) entry->set_uid(*posix.uid);
  if (posix.gid) entry->set_gid(*posix.gid);
  if (posix.mtime) entry->set_mtime_ns(posix.mtime->count());
  if (posix.atime) entry->set_atime_ns(posix.atime->count());
  if (entry->modified_ns() == 0) entry->set_modified_ns(info.last_modified.count());
  // The object may have changed since it was listed: what is imported is what HEAD saw.
  entry->set_size(info.size);
  entry->set_etag(info.etag);
}

}  // namespace sheen::agent
