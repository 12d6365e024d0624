// ClusterMap: the management service's knowledge. Which servers there are, which targets they have
// (durable, with a version), and how the targets are (in memory, from heartbeats).
//
// The map is one row of the store's config family, written and synced by Register, so its functions
// that change it block. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "layout/layout.h"
#include "mds/cluster_records.h"
#include "mds/ost_pools.h"
#include "mdt/mdt.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {

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
  // As ChangePools (ost_pools.h); the map has a new version if anything has changed. "survives
  // power loss".
  Result<std::vector<PoolRefusal>> ChangePool(PoolChange change);
  std::shared_ptr<const OstPools> Pools() const;
  // Whether the changelog has openings, of which the MDS must be told then; the map has a new
  // version if that has changed. At the start nothing has.
  Status SetOpensAreLogged(bool logged);
  void Fill(v1::ClusterMap* out) const;
  uint64_t version() const;

  // Space of this MDT, from statvfs.
  void SetOwnSpace(const v1::TargetSpace& space);
  std::vector<v1::TargetSpace> Targets() const;
  // For layout::ChooseOsts; shared by calls until a heartbeat or a deadline changes it.
  using OstList = std::shared_ptr<const std::vector<layout::OstState>>;
  OstList Osts() const;
  // Those of them in the pool; null: there is no such pool.
  OstList OstsOf(const std::string& pool) const;
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
  // With the rows that a change is about, besides the map's.
  Status Persist(const MapRecord& map, const KeptParams* kept = nullptr,
                 const OstPools* pools = nullptr);
  OstList OstsLocked(Nanos now) const;
  bool UpLocked(const TargetInfo& target, Nanos now) const;

  mdt::Mdt* const mdt_;
  const Options options_;
  const Nanos started_;
  std::mutex register_mutex_;  // one registration at a time; taken before mutex_
  mutable std::mutex mutex_;   // guards everything below
  MapRecord map_;
  KeptParams kept_;
  std::shared_ptr<const OstPools> pools_ = std::make_shared<const OstPools>();
  bool opens_are_logged_ = false;
  std::map<Key, Space> spaces_;
  mutable OstList osts_;
  mutable std::map<std::string, OstList> pool_osts_;  // parts of *osts_
  mutable Nanos osts_built_{0};
};

}  // namespace sheen::mds
