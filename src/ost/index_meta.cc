// Meta rows, little-endian, each with CRC32C of everything before at its end.
//
//   identity   u64 version 1, UUID (16), u64 generation
//   boot       u64 version 1, u64 boot count, u32 1 if unsynced files were inherited, u32 length
//   and
//              the machine's boot id
//   closed     u64 version 1, u64 boot count
//   committed  u64 version 1, u64 transno, i64 wall clock in ns
#include "ost/index_meta.h"

#include <fmt/core.h>

#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::ost {
namespace {

constexpr uint64_t kMetaVersion = 1;

std::string Seal(Encoder out) {
  out.U32(Crc32c(AsBytes(out.data())));
  return out.Take();
}

// A decoder behind the version, over what the CRC covers.
Result<Decoder> Unseal(std::string_view row, std::string_view name) {
  if (row.size() < 12) return Fail(Errc::kCorrupt, fmt::format("index row '{}' is short", name));
  const std::string_view covered = row.substr(0, row.size() - 4);
  if (LoadLittle<uint32_t>(row.data() + covered.size()) != Crc32c(AsBytes(covered))) {
    return Fail(Errc::kCorrupt, fmt::format("index row '{}' fails its checksum", name));
  }
  Decoder in(covered);
  const uint64_t version = in.U64();
  if (version != kMetaVersion) {
    return Fail(Errc::kBadVersion,
                fmt::format("index row '{}' has version {}; this program knows {}", name, version,
                            kMetaVersion));
  }
  return in;
}

}  // namespace

std::string EncodeIdentity(const Superblock& superblock) {
  Encoder out;
  out.U64(kMetaVersion);
  out.Raw(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
  out.U64(superblock.generation);
  return Seal(std::move(out));
}

Status CheckIdentity(std::string_view row, const Superblock& superblock) {
  SHEEN_TRY_ASSIGN(Decoder in, Unseal(row, kIdentityRow));
  Uuid uuid;
  const std::string_view bytes = in.Raw(uuid.bytes.size());
  std::memcpy(uuid.bytes.data(), bytes.data(), bytes.size());
  const uint64_t generation = in.U64();
  if (!in.done()) return Fail(Errc::kCorrupt, "index row 'identity' has a wrong length");
  if (uuid != superblock.uuid || generation != superblock.generation) {
    return Fail(Errc::kCorrupt,
                fmt::format("the index belongs to target {} generation {}, the superblock says {} "
                            "generation {}",
                            uuid.ToString(), generation, superblock.uuid.ToString(),
                            superblock.generation));
  }
  return {};
}

std::string EncodeBoot(const BootRow& row) {
  Encoder out;
  out.U64(kMetaVersion);
  out.U64(row.boot);
  out.U32(row.inherits_unsynced ? 1 : 0);
  out.Bytes(row.machine_boot_id);
  return Seal(std::move(out));
}

Result<BootRow> DecodeBoot(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(Decoder in, Unseal(bytes, kBootRow));
  BootRow row;
  row.boot = in.U64();
  row.inherits_unsynced = in.U32() != 0;
  row.machine_boot_id = in.Bytes();
  if (!in.done()) return Fail(Errc::kCorrupt, "index row 'boot' has a wrong length");
  return row;
}

std::string EncodeClosed(uint64_t boot) {
  Encoder out;
  out.U64(kMetaVersion);
  out.U64(boot);
  return Seal(std::move(out));
}

Result<uint64_t> DecodeClosed(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(Decoder in, Unseal(bytes, kClosedRow));
  const uint64_t boot = in.U64();
  if (!in.done()) return Fail(Errc::kCorrupt, "index row 'closed' has a wrong length");
  return boot;
}

std::string EncodeCommitted(const CommittedRow& row) {
  Encoder out;
  out.U64(kMetaVersion);
  out.U64(row.transno);
  out.I64(row.wall_ns);
  return Seal(std::move(out));
}

Result<CommittedRow> DecodeCommitted(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(Decoder in, Unseal(bytes, kCommittedRow));
  CommittedRow row;
  row.transno = in.U64();
  row.wall_ns = in.I64();
  if (!in.done()) return Fail(Errc::kCorrupt, "index row 'committed' has a wrong length");
  return row;
}

}  // namespace sheen::ost
