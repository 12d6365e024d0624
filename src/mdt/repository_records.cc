#include "mdt/repository_records.h"

#include <bit>

#include "base/bytes.h"

namespace sheen::mdt {
namespace {

constexpr uint8_t kVersion = 1;

Status CheckVersion(uint8_t version, std::string_view what) {
  if (version == 0) return Fail(Errc::kCorrupt, std::string(what) + ": version 0");
  if (version == kVersion) return {};
  return Fail(Errc::kBadVersion, std::string(what) + ": version " + std::to_string(version) +
                                     " is not known here: written by a newer program");
}

}  // namespace

std::string RepositoryKey(uint32_t id) {
  std::string key(kRepositoryPrefix);
  AppendBig32(&key, id);
  return key;
}

std::string Encode(const RepositoryRow& row) {
  Encoder out;
  out.U8(kVersion);
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
  return out.Take();
}

Result<RepositoryRow> DecodeRepository(std::string_view bytes) {
  Decoder in(bytes);
  SHEEN_TRY(CheckVersion(in.U8(), "data repository"));
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
  SHEEN_TRY(CheckVersion(in.U8(), "source of a file"));
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
