#include "oss/gone_holders.h"

#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::oss {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kCrcBytes = 4;

Error Bad(const char* what) {
  return Error(Errc::kCorrupt, std::string("row of a client that has gone: ") + what);
}

ObjectLocks::Held ReadLock(Decoder* in) {
  ObjectLocks::Held lock;
  lock.key.target = in->U32();
  lock.key.id.fid.seq = in->U64();
  lock.key.id.fid.oid = in->U32();
  lock.key.id.fid.ver = in->U32();
  lock.key.id.birth = in->U64();
  lock.key.id.stripe = in->U32();
  lock.id = in->U64();
  lock.extent.start = in->U64();
  lock.extent.end = in->U64();
  return lock;
}

}  // namespace

std::string GoneKey(uint64_t session_id) {
  std::string key(kGonePrefix);
  AppendBig64(&key, session_id);
  return key;
}

std::optional<uint64_t> SessionOfGoneKey(std::string_view key) {
  if (!key.starts_with(kGonePrefix) || key.size() != kGonePrefix.size() + sizeof(uint64_t)) {
    return std::nullopt;
  }
  return LoadBig64(key.data() + kGonePrefix.size());
}

std::string Encode(const GoneHolder& holder) {
  Encoder row;
  row.U8(kVersion);
  row.U64(holder.boot);
  row.Raw(holder.client.bytes.data(), holder.client.bytes.size());
  row.U32(static_cast<uint32_t>(holder.locks.size()));
  for (const ObjectLocks::Held& lock : holder.locks) {
    row.U32(lock.key.target);
    row.U64(lock.key.id.fid.seq);
    row.U32(lock.key.id.fid.oid);
    row.U32(lock.key.id.fid.ver);
    row.U64(lock.key.id.birth);
    row.U32(lock.key.id.stripe);
    row.U64(lock.id);
    row.U64(lock.extent.start);
    row.U64(lock.extent.end);
  }
  row.U32(Crc32c(AsBytes(row.data())));
  return row.Take();
}

Result<GoneHolder> DecodeGoneHolder(std::string_view value) {
  if (value.size() < kCrcBytes) return std::unexpected(Bad("too short"));
  const std::string_view covered = value.substr(0, value.size() - kCrcBytes);
  if (LoadLittle<uint32_t>(value.data() + covered.size()) != Crc32c(AsBytes(covered))) {
    return std::unexpected(Bad("fails its checksum"));
  }
  Decoder in(covered);
  if (in.U8() != kVersion) {
    return Fail(Errc::kBadVersion, "row of a client that has gone: of an unknown version");
  }
  GoneHolder holder;
  holder.boot = in.U64();
  const std::string_view client = in.Raw(holder.client.bytes.size());
  const uint32_t count = in.U32();
  if (!in.ok() || count > kGoneLocksMax) return std::unexpected(Bad("a bad count"));
  std::memcpy(holder.client.bytes.data(), client.data(), client.size());
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    holder.locks.push_back(ReadLock(&in));
    if (in.ok() && !holder.locks.back().extent.Valid()) {
      return std::unexpected(Bad("a lock of no bytes"));
    }
  }
  if (!in.done()) return std::unexpected(Bad("its size does not fit its count"));
  return holder;
}

}  // namespace sheen::oss
