// The rows of the cluster map and of kept settings, and their bytes (docs/formats/mdt.md).
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "sheen/result.h"

namespace sheen::mds {

struct ServerInfo {
  std::string name;  // "mds0", "oss0"
  std::vector<std::string> hosts;
  uint16_t data_port = 0;
  uint16_t control_port = 0;
  bool operator==(const ServerInfo&) const = default;
};

struct TargetInfo {
  bool is_mdt = false;
  uint32_t index = 0;
  Uuid uuid;
  uint64_t generation = 0;
  std::string server;
  bool operator==(const TargetInfo&) const = default;
};

struct MapRecord {
  uint64_t version = 0;
  std::vector<ServerInfo> servers;
  std::vector<TargetInfo> targets;
  bool operator==(const MapRecord&) const = default;
};

// Settings that every server and client applies, by parameter name (base/params.h).
using KeptParams = std::map<std::string, std::string>;

std::string EncodeKept(const KeptParams& kept);
Result<KeptParams> DecodeKept(std::string_view bytes);
std::string EncodeMap(const MapRecord& map);
Result<MapRecord> DecodeMap(std::string_view bytes);

}  // namespace sheen::mds
