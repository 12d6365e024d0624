#include "mdt/repository_records.h"

#include <bit>

#include "base/bytes.h"
#include "mdt/record_parts.h"
#include "mdt/schema.h"

namespace sheen::mdt {
namespace {

constexpr uint8_t kVersion = 1;
// Of a repository's row: with an import policy. One without is written as version 1.
constexpr uint8_t kRepositoryVersion = 2;
constexpr uint32_t kImportWhatMax = 7;

}  // namespace

std::string RepositoryKey(uint32_t id) {
  std::string key(kRepositoryPrefix);
  AppendBig32(&key, id);
  return key;
}

std::string FormerRepositoryKey(uint32_t id) {
  std::string key(kFormerRepositoryPrefix);
  AppendBig32(&key, id);
  return key;
}

std::string PendingPrefix(uint32_t link) {
  std::string key(kPendingPrefix);
  AppendBig32(&key, link);
  return key;
}

std::string PendingKey(uint32_t link, const Fid& fid) {
  return PendingPrefix(link) + InodeKey(fid);
}

std::string EncodePending() { return std::string(1, static_cast<char>(kVersion)); }

Result<PendingRow> DecodePendingKey(std::string_view key) {
  const size_t fid_at = kPendingPrefix.size() + sizeof(uint32_t);
  if (!key.starts_with(kPendingPrefix) || key.size() != fid_at + Fid::kKeyBytes) {
    return Fail(Errc::kCorrupt, "pending name: its key has a wrong length");
  }
  const uint32_t link = LoadBig32(key.data() + kPendingPrefix.size());
  return PendingRow{link, Fid::FromKey(key.substr(fid_at))};
}

std::string UnlistedKey(uint32_t link) {
  std::string key(kUnlistedPrefix);
  AppendBig32(&key, link);
  return key;
}

std::string EncodeUnlisted() { return std::string(1, static_cast<char>(kVersion)); }

Result<uint32_t> DecodeUnlistedKey(std::string_view key) {
  const size_t size = kUnlistedPrefix.size() + sizeof(uint32_t);
  if (!key.starts_with(kUnlistedPrefix) || key.size() != size) {
    return Fail(Errc::kCorrupt, "unlisted repository: its key has a wrong length");
  }
  return LoadBig32(key.data() + kUnlistedPrefix.size());
}

std::string TakenAwayPrefix(uint32_t link) {
  std::string key(kTakenAwayPrefix);
  AppendBig32(&key, link);
  return key;
}

std::string TakenAwayKey(uint32_t link, std::string_view key) {
  if (key.ends_with('/')) key.remove_suffix(1);
  return TakenAwayPrefix(link) + std::string(key);
}

bool IsPendingSource(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  const uint32_t flags = in.U32();
  // What was changed here is not S3's any more.
  const bool pending = (flags & kSourcePending) != 0 && (flags & kHsmDirty) == 0;
  return in.ok() && version == kVersion && pending;
}

std::string Encode(const RepositoryRow& row) {
  const bool policy = row.import_what != 0 || row.import_every_s != 0 || row.no_head;
  Encoder out;
  out.U8(policy ? kRepositoryVersion : kVersion);
  out.U32(row.id);
  out.Bytes(row.path);
  out.U64(row.directory.seq);
  out.U32(row.directory.oid);
  out.Bytes(row.bucket);
  out.Bytes(row.prefix);
  out.Bytes(row.endpoint);
  out.Bytes(row.region);
  out.U8(row.path_style ? 1 : 0);
  out.Bytes(row.profile);
  out.Bytes(row.credentials_file);
  out.U64(row.chunk_bytes);
  out.U32(row.concurrency);
  out.U64(std::bit_cast<uint64_t>(row.requests_per_second));
  out.U64(std::bit_cast<uint64_t>(row.bytes_per_second));
  out.I64(row.created_ns);
  if (policy) {
    out.U8(static_cast<uint8_t>(row.import_what));
    out.U32(row.import_every_s);
    out.U8(row.no_head ? 1 : 0);
  }
  return out.Take();
}

std::string HsmActionKey(const HsmCookie& cookie) {
  std::string key(kHsmActionPrefix);
  AppendBig64(&key, cookie.transno);
  AppendBig32(&key, cookie.number);
  return key;
}

Result<HsmCookie> DecodeHsmActionKey(std::string_view key) {
  constexpr size_t kNumbers = sizeof(uint64_t) + sizeof(uint32_t);
  if (!key.starts_with(kHsmActionPrefix) || key.size() != kHsmActionPrefix.size() + kNumbers) {
    return Fail(Errc::kCorrupt, "hsm action: its key has a wrong length");
  }
  const char* const numbers = key.data() + kHsmActionPrefix.size();
  return HsmCookie{LoadBig64(numbers), LoadBig32(numbers + sizeof(uint64_t))};
}

std::string Encode(const HsmActionRow& row) {
  Encoder out;
  out.U8(kVersion);
  out.U32(row.action);
  out.U64(row.fid.seq);
  out.U32(row.fid.oid);
  out.U64(row.job);
  out.I64(row.requested_ns);
  return out.Take();
}

Result<HsmActionRow> DecodeHsmAction(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kVersion, "hsm action"));
  HsmActionRow row;
  row.action = in.U32();
  row.fid.seq = in.U64();
  row.fid.oid = in.U32();
  row.job = in.U64();
  row.requested_ns = in.I64();
  if (!in.done() || !row.fid.Valid()) {
    return Fail(Errc::kCorrupt, "hsm action: its row breaks the format's rules");
  }
  return row;
}

Result<RepositoryRow> DecodeRepository(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  SHEEN_TRY(CheckVersion(version, kRepositoryVersion, "data repository"));
  RepositoryRow row;
  row.id = in.U32();
  row.path = in.Bytes();
  row.directory.seq = in.U64();
  row.directory.oid = in.U32();
  row.bucket = in.Bytes();
  row.prefix = in.Bytes();
  row.endpoint = in.Bytes();
  row.region = in.Bytes();
  const uint8_t path_style = in.U8();
  row.path_style = path_style == 1;
  row.profile = in.Bytes();
  row.credentials_file = in.Bytes();
  row.chunk_bytes = in.U64();
  row.concurrency = in.U32();
  row.requests_per_second = std::bit_cast<double>(in.U64());
  row.bytes_per_second = std::bit_cast<double>(in.U64());
  row.created_ns = in.I64();
  uint8_t no_head = 0;
  if (version >= kRepositoryVersion) {
    row.import_what = in.U8();
    row.import_every_s = in.U32();
    no_head = in.U8();
    row.no_head = no_head == 1;
  }
  if (row.import_what > kImportWhatMax || no_head > 1) {
    return Fail(Errc::kCorrupt, "data repository: its import policy breaks the format's rules");
  }
  if (!in.done() || path_style > 1 || row.id == 0 || row.bucket.empty() || row.path.empty() ||
      row.chunk_bytes == 0 || !row.directory.Valid()) {
    return Fail(Errc::kCorrupt, "data repository: its row breaks the format's rules");
  }
  return row;
}

std::string Encode(const FileSource& source) {
  Encoder out;
  out.U8(kVersion);
  out.U32(source.flags);
  out.U32(source.link);
  out.Bytes(source.key);
  out.Bytes(source.etag);
  out.U64(source.size);
  out.I64(source.modified_ns);
  return out.Take();
}

Result<FileSource> DecodeFileSource(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), kVersion, "source of a file"));
  FileSource source;
  source.flags = in.U32();
  source.link = in.U32();
  source.key = in.Bytes();
  source.etag = in.Bytes();
  source.size = in.U64();
  source.modified_ns = in.I64();
  if (!in.done() || source.link == 0 || source.key.empty()) {
    return Fail(Errc::kCorrupt, "source of a file: it breaks the format's rules");
  }
  return source;
}

}  // namespace sheen::mdt
