#include "mds/cluster_records.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace sheen::mds {
namespace {

constexpr uint8_t kMapVersion = 1;
constexpr uint8_t kKeptVersion = 1;

}  // namespace

std::string EncodeMap(const MapRecord& map) {
  Encoder out;
  out.U8(kMapVersion);
  out.U64(map.version);
  out.U32(static_cast<uint32_t>(map.servers.size()));
  for (const ServerInfo& server : map.servers) {
    out.Bytes(server.name);
    out.U32(static_cast<uint32_t>(server.hosts.size()));
    for (const std::string& host : server.hosts) out.Bytes(host);
    out.U16(server.data_port);
    out.U16(server.control_port);
  }
  out.U32(static_cast<uint32_t>(map.targets.size()));
  for (const TargetInfo& target : map.targets) {
    out.U8(target.is_mdt ? 1 : 0);
    out.U32(target.index);
    out.Raw(target.uuid.bytes.data(), target.uuid.bytes.size());
    out.U64(target.generation);
    out.Bytes(target.server);
  }
  return out.Take();
}

Result<MapRecord> DecodeMap(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  if (version > kMapVersion) {
    return Fail(Errc::kBadVersion, "cluster map: written by a newer version of Sheen");
  }
  MapRecord map;
  map.version = in.U64();
  const uint32_t servers = in.U32();
  for (uint32_t i = 0; i < servers && in.ok(); ++i) {
    ServerInfo server;
    server.name = in.Bytes();
    const uint32_t hosts = in.U32();
    for (uint32_t h = 0; h < hosts && in.ok(); ++h) server.hosts.emplace_back(in.Bytes());
    server.data_port = in.U16();
    server.control_port = in.U16();
    map.servers.push_back(std::move(server));
  }
  const uint32_t targets = in.U32();
  for (uint32_t i = 0; i < targets && in.ok(); ++i) {
    TargetInfo target;
    target.is_mdt = in.U8() != 0;
    target.index = in.U32();
    const std::string_view uuid = in.Raw(target.uuid.bytes.size());
    if (in.ok()) std::ranges::copy(uuid, target.uuid.bytes.begin());
    target.generation = in.U64();
    target.server = in.Bytes();
    map.targets.push_back(std::move(target));
  }
  if (!in.done() || version == 0) return Fail(Errc::kCorrupt, "cluster map: record is damaged");
  return map;
}

std::string EncodeKept(const KeptParams& kept) {
  Encoder out;
  out.U8(kKeptVersion);
  out.U32(static_cast<uint32_t>(kept.size()));
  for (const auto& [name, value] : kept) {
    out.Bytes(name);
    out.Bytes(value);
  }
  return out.Take();
}

Result<KeptParams> DecodeKept(std::string_view bytes) {
  Decoder in(bytes);
  if (in.U8() > kKeptVersion) {
    return Fail(Errc::kBadVersion, "kept settings: written by a newer version of Sheen");
  }
  KeptParams kept;
  const uint32_t count = in.U32();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    std::string name(in.Bytes());
    kept[std::move(name)] = in.Bytes();
  }
  if (!in.done()) return Fail(Errc::kCorrupt, "kept settings: the record is damaged");
  return kept;
}

}  // namespace sheen::mds
