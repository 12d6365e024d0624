// ClusterMap: the management service's knowledge. Which servers there are, which targets they have
// (durable, with a version), and how the targets are (in memory, from heartbeats).
//
// The map is one row of the store's config family, written and synced by Register, so its functions
// that change it block. Thread-safe. docs/formats/mdt.md has the row's bytes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "layout/layout.h"
#include "mdt/mdt.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

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

class ClusterMap final {
 public:
  struct Options {
    const Clock* clock = nullptr;
    Nanos target_timeout = std::chrono::seconds(5);
    std::function<void(uint64_t)> on_changed;  // called with no lock held
  };

  ClusterMap(mdt::Mdt* mdt, Options options);
  // Reads the map's row. Errors: kCorrupt, kBadVersion, the store's.
  Status Load();

  // Names a nameless server after its role, or as before when its targets are known. Errors:
  // kWrongFilesystem; kInvalid (a malformed entry); kExists (another target, by UUID, has the
  // index, or another server has the name).
  Result<v1::RegisterServerReply> Register(const v1::RegisterServerRequest& request);
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request);
  // Keeps a setting, or forgets it; the map has a new version then. "survives power loss". Errors:
  // kInvalid (a name or value that cannot be one), kNoSpace (too many), kNoEntry (none to forget).
  Status KeepParam(const std::string& name, const std::string& value, bool forget);
  KeptParams Kept() const;
  void Fill(v1::ClusterMap* out) const;
  uint64_t version() const;

  // Space of this MDT, from statvfs.
  void SetOwnSpace(const v1::TargetSpace& space);
  std::vector<v1::TargetSpace> Targets() const;
  // For layout::ChooseOsts; shared by calls until a heartbeat or a deadline changes it.
  std::shared_ptr<const std::vector<layout::OstState>> Osts() const;
  // Just started, and not every registered OST has been heard of yet.
  bool WarmingUp() const;
  // Server that has the OST; empty: no such OST is registered.
  std::string ServerOfOst(uint32_t index) const;
  // Servers with an OST, each once.
  std::vector<std::string> OssNames() const;

 private:
  struct Space {
    v1::TargetSpace space;
    Nanos heard{0};
    bool ever = false;
    bool left = false;  // its server has said goodbye
  };
  using Key = std::pair<bool, uint32_t>;  // is_mdt, index

  Status Validate(const v1::RegisterServerRequest& request) const;
  Result<std::string> NameFor(const v1::RegisterServerRequest& request) const;
  Status Persist(const MapRecord& map, const KeptParams* kept = nullptr);
  bool UpLocked(const TargetInfo& target, Nanos now) const;

  mdt::Mdt* const mdt_;
  const Options options_;
  const Nanos started_;
  std::mutex register_mutex_;  // one registration at a time; taken before mutex_
  mutable std::mutex mutex_;   // guards everything below
  MapRecord map_;
  KeptParams kept_;
  std::map<Key, Space> spaces_;
  mutable std::shared_ptr<const std::vector<layout::OstState>> osts_;
  mutable Nanos osts_built_{0};
};

}  // namespace sheen::mds
