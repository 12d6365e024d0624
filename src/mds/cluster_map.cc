#include "mds/cluster_map.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"

namespace sheen::mds {
namespace {

constexpr std::string_view kMapKey = "cluster_map";
constexpr std::string_view kKeptKey = "kept_params";
constexpr std::string_view kPoolsKey = "ost_pools";
constexpr size_t kKeptMax = 1000;
constexpr size_t kKeptNameMax = 255;
constexpr size_t kKeptValueMax = 4096;
// How long a list of OST states may be shared before liveness is looked at again.
constexpr Nanos kOstsFresh = std::chrono::milliseconds(500);
// Two heartbeats and a half: of who is silent for longer no new object is asked while there are
// others, since most that stop without a goodbye stay away for longer than a moment.
constexpr Nanos kLately = std::chrono::milliseconds(2500);
// Taken for the free space of an OST that has not been heard of since the MDS started.
constexpr uint64_t kUnknownSpace = 1ULL << 30;

std::string TargetName(std::string_view fsname, bool is_mdt, uint32_t index) {
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, "-%s%04x", is_mdt ? "MDT" : "OST", index);
  return std::string(fsname) + suffix;
}

bool ValidServerName(const std::string& name) {
  return name.size() <= 64 && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

Uuid UuidOf(const std::string& bytes) {
  Uuid uuid;
  if (bytes.size() == uuid.bytes.size()) std::ranges::copy(bytes, uuid.bytes.begin());
  return uuid;
}

// Letters of `lfs df` that keep new objects away: degraded, read-only, no space, no inodes.
bool Refuses(const std::string& state) { return state.find_first_of("DRSI") != std::string::npos; }

}  // namespace

ClusterMap::ClusterMap(mdt::Mdt* mdt, Options options)
    : mdt_(mdt), options_(std::move(options)), started_(options_.clock->Monotonic()) {}

Status ClusterMap::Load() {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes,
                   mdt_->store()->Get(mdt::kConfig, kMapKey, kv::Blocking::kMayBlock));
  SHEEN_TRY_ASSIGN(const std::optional<std::string> kept,
                   mdt_->store()->Get(mdt::kConfig, kKeptKey, kv::Blocking::kMayBlock));
  SHEEN_TRY_ASSIGN(const std::optional<std::string> pools,
                   mdt_->store()->Get(mdt::kConfig, kPoolsKey, kv::Blocking::kMayBlock));
  std::lock_guard lock(mutex_);
  if (bytes) {
    SHEEN_TRY_ASSIGN(map_, DecodeMap(*bytes));
  }
  if (kept) {
    SHEEN_TRY_ASSIGN(kept_, DecodeKept(*kept));
  }
  if (pools) {
    SHEEN_TRY_ASSIGN(OstPools decoded, DecodePools(*pools));
    pools_ = std::make_shared<const OstPools>(std::move(decoded));
  }
  return {};
}

Status ClusterMap::Validate(const v1::RegisterServerRequest& request) const {
  const std::string& fsname = mdt_->superblock().fsname;
  if (request.fsname() != fsname) {
    return Fail(Errc::kWrongFilesystem, "this is filesystem '" + fsname + "', the server is of '" +
                                            request.fsname() + "'; check its fsname and MGS");
  }
  const v1::ServerEntry& server = request.server();
  const auto valid_port = [](uint32_t port) { return port > 0 && port < 65536; };
  if (!ValidServerName(server.name()) || server.hosts().empty() || server.hosts_size() > 16 ||
      !valid_port(server.data_port()) || !valid_port(server.control_port())) {
    return Fail(Errc::kInvalid, "registration of server '" + server.name() +
                                    "': name, hosts or ports are not valid");
  }
  if (request.targets().empty() || request.targets_size() > 1024) {
    return Fail(Errc::kInvalid, "registration of a server with " +
                                    std::to_string(request.targets_size()) + " targets");
  }
  for (const v1::TargetEntry& target : request.targets()) {
    if (target.uuid().size() != sizeof(Uuid::bytes) || target.index() > 0xFFFF) {
      return Fail(Errc::kInvalid, "registration of target " + std::to_string(target.index()) +
                                      ": UUID or index is not valid");
    }
    for (const TargetInfo& known : map_.targets) {
      if (known.is_mdt != target.is_mdt() || known.index != target.index()) continue;
      if (known.uuid == UuidOf(target.uuid())) continue;
      if (target.generation() > known.generation) continue;
      return Fail(Errc::kExists, TargetName(fsname, known.is_mdt, known.index) +
                                     " is another target (UUID " + known.uuid.ToString() + ", on " +
                                     known.server + "); format this one with a free index");
    }
  }
  return {};
}

Result<std::string> ClusterMap::NameFor(const v1::RegisterServerRequest& request) const {
  const auto same_target = [&](const TargetInfo& known) {
    return std::ranges::any_of(request.targets(), [&](const v1::TargetEntry& target) {
      return known.uuid == UuidOf(target.uuid());
    });
  };
  const std::string& wanted = request.server().name();
  if (wanted.empty()) {
    for (const TargetInfo& known : map_.targets) {
      if (same_target(known)) return known.server;
    }
    for (const v1::TargetEntry& target : request.targets()) {
      if (target.is_mdt()) return "mds" + std::to_string(target.index());
    }
    const auto taken = [&](const std::string& name) {
      return std::ranges::any_of(map_.servers, [&](const auto& s) { return s.name == name; });
    };
    uint32_t number = 0;
    while (taken("oss" + std::to_string(number))) ++number;
    return "oss" + std::to_string(number);
  }
  // A name stays with whoever brings at least one of its targets.
  bool has_targets = false;
  bool brings_one = false;
  for (const TargetInfo& known : map_.targets) {
    if (known.server != wanted) continue;
    has_targets = true;
    brings_one |= same_target(known);
  }
  if (has_targets && !brings_one) {
    return Fail(Errc::kExists,
                "server name '" + wanted + "' belongs to another server; register without a name");
  }
  return wanted;
}

Result<v1::RegisterServerReply> ClusterMap::Register(const v1::RegisterServerRequest& request) {
  std::lock_guard registering(register_mutex_);
  MapRecord next;
  std::string name;
  {
    std::lock_guard lock(mutex_);
    SHEEN_TRY(Validate(request));
    SHEEN_TRY_ASSIGN(name, NameFor(request));
    next = map_;
  }
  ServerInfo server{.name = name};
  server.hosts.assign(request.server().hosts().begin(), request.server().hosts().end());
  server.data_port = static_cast<uint16_t>(request.server().data_port());
  server.control_port = static_cast<uint16_t>(request.server().control_port());
  const MapRecord before = next;
  std::erase_if(next.servers, [&](const ServerInfo& other) { return other.name == name; });
  next.servers.push_back(std::move(server));
  std::ranges::sort(next.servers, {}, &ServerInfo::name);
  for (const v1::TargetEntry& entry : request.targets()) {
    std::erase_if(next.targets, [&](const TargetInfo& other) {
      return other.is_mdt == entry.is_mdt() && other.index == entry.index();
    });
    next.targets.push_back(
        {entry.is_mdt(), entry.index(), UuidOf(entry.uuid()), entry.generation(), name});
  }
  std::ranges::sort(next.targets, {}, [](const TargetInfo& target) {
    return std::pair(!target.is_mdt, target.index);
  });
  const bool changed = next != before;
  if (changed) {
    ++next.version;
    SHEEN_TRY(Persist(next));
    std::lock_guard lock(mutex_);
    map_ = next;
    osts_.reset();
  }
  if (changed) {
    SHEEN_LOG(Info, "cluster map {}: {} registered with {} targets", next.version, name,
              request.targets_size());
    if (options_.on_changed) options_.on_changed(next.version);
  }
  v1::RegisterServerReply reply;
  reply.set_map_version(next.version);
  reply.set_server_name(name);
  reply.set_mgs_boot(mdt_->superblock().boot);
  return reply;
}

Status ClusterMap::Persist(const MapRecord& map, const KeptParams* kept, const OstPools* pools) {
  mdt::Txn txn(mdt_->store(), mdt_->transnos(), kv::Blocking::kMayBlock);
  txn.Put(mdt::kConfig, std::string(kMapKey), EncodeMap(map));
  if (kept != nullptr) txn.Put(mdt::kConfig, std::string(kKeptKey), EncodeKept(*kept));
  if (pools != nullptr) txn.Put(mdt::kConfig, std::string(kPoolsKey), EncodePools(*pools));
  SHEEN_TRY(mdt_->Commit(&txn));
  return mdt_->Sync();
}

Status ClusterMap::KeepParam(const std::string& name, const std::string& value, bool forget) {
  const auto printable = [](char c) { return c > ' ' && c < 0x7F; };
  if (name.empty() || name.size() > kKeptNameMax || !std::ranges::all_of(name, printable)) {
    return Fail(Errc::kInvalid, "'" + name + "' cannot be the name of a parameter");
  }
  if (value.size() > kKeptValueMax) {
    return Fail(Errc::kInvalid, "the value of " + name + " is longer than 4096 bytes");
  }
  std::lock_guard registering(register_mutex_);
  MapRecord next;
  KeptParams kept;
  {
    std::lock_guard lock(mutex_);
    next = map_;
    kept = kept_;
  }
  if (forget && kept.erase(name) == 0) return Fail(Errc::kNoEntry, name + " is not kept");
  if (!forget) kept[name] = value;
  if (kept.size() > kKeptMax) return Fail(Errc::kNoSpace, "more than 1000 settings are kept");
  ++next.version;
  SHEEN_TRY(Persist(next, &kept));
  {
    std::lock_guard lock(mutex_);
    map_ = next;
    kept_ = std::move(kept);
  }
  SHEEN_LOG(Info, "cluster map {}: {} {}", next.version,
            forget ? "does not keep any more" : "keeps", forget ? name : name + "=" + value);
  if (options_.on_changed) options_.on_changed(next.version);
  return {};
}

KeptParams ClusterMap::Kept() const {
  std::lock_guard lock(mutex_);
  return kept_;
}

Result<std::vector<PoolRefusal>> ClusterMap::ChangePool(PoolChange change) {
  change.fsname = mdt_->superblock().fsname;
  std::lock_guard registering(register_mutex_);
  MapRecord next;
  OstPools pools;
  {
    std::lock_guard lock(mutex_);
    next = map_;
    pools = *pools_;
  }
  std::set<uint32_t> registered;
  for (const TargetInfo& target : next.targets) {
    if (!target.is_mdt) registered.insert(target.index);
  }
  const OstPools before = pools;
  SHEEN_TRY_ASSIGN(std::vector<PoolRefusal> refused, ChangePools(change, registered, &pools));
  if (pools == before) return refused;
  ++next.version;
  SHEEN_TRY(Persist(next, nullptr, &pools));
  {
    std::lock_guard lock(mutex_);
    map_ = next;
    pools_ = std::make_shared<const OstPools>(std::move(pools));
    osts_.reset();
  }
  SHEEN_LOG(Info, "cluster map {}: pool {} has changed", next.version, change.pool);
  if (options_.on_changed) options_.on_changed(next.version);
  return refused;
}

Status ClusterMap::SetOpensAreLogged(bool logged) {
  std::lock_guard registering(register_mutex_);
  MapRecord next;
  {
    std::lock_guard lock(mutex_);
    if (opens_are_logged_ == logged) return {};
    next = map_;
  }
  ++next.version;
  SHEEN_TRY(Persist(next));
  {
    std::lock_guard lock(mutex_);
    map_ = next;
    opens_are_logged_ = logged;
  }
  if (options_.on_changed) options_.on_changed(next.version);
  return {};
}

std::shared_ptr<const OstPools> ClusterMap::Pools() const {
  std::lock_guard lock(mutex_);
  return pools_;
}

Result<v1::HeartbeatReply> ClusterMap::Heartbeat(const v1::HeartbeatRequest& request) {
  const std::string& fsname = mdt_->superblock().fsname;
  if (request.fsname() != fsname) {
    return Fail(Errc::kWrongFilesystem, "this is filesystem '" + fsname +
                                            "', the heartbeat is of '" + request.fsname() + "'");
  }
  const Nanos now = options_.clock->Monotonic();
  std::lock_guard lock(mutex_);
  v1::HeartbeatReply reply;
  reply.set_map_version(map_.version);
  reply.set_known(!request.targets().empty());
  for (const v1::TargetSpace& space : request.targets()) {
    const bool registered = std::ranges::any_of(map_.targets, [&](const TargetInfo& target) {
      return target.is_mdt == space.is_mdt() && target.index == space.index() &&
             target.server == request.server_name();
    });
    if (!registered) {
      reply.set_known(false);
      continue;
    }
    Space& known = spaces_[Key(space.is_mdt(), space.index())];
    if (request.leaving() && !std::exchange(known.left, true)) {
      SHEEN_LOG(Info, "{} has stopped serving target {}", request.server_name(), space.index());
    }
    known = {space, now, true, request.leaving()};
  }
  osts_.reset();
  return reply;
}

void ClusterMap::Fill(v1::ClusterMap* out) const {
  std::lock_guard lock(mutex_);
  const std::string& fsname = mdt_->superblock().fsname;
  out->set_version(map_.version);
  out->set_fsname(fsname);
  out->set_opens_are_logged(opens_are_logged_);
  for (const ServerInfo& server : map_.servers) {
    v1::ServerEntry* entry = out->add_servers();
    entry->set_name(server.name);
    for (const std::string& host : server.hosts) entry->add_hosts(host);
    entry->set_data_port(server.data_port);
    entry->set_control_port(server.control_port);
  }
  for (const TargetInfo& target : map_.targets) {
    v1::TargetEntry* entry = out->add_targets();
    entry->set_name(TargetName(fsname, target.is_mdt, target.index));
    entry->set_is_mdt(target.is_mdt);
    entry->set_index(target.index);
    entry->set_uuid(target.uuid.bytes.data(), target.uuid.bytes.size());
    entry->set_generation(target.generation);
    entry->set_server(target.server);
  }
  for (const auto& [name, value] : kept_) {
    v1::KeptParam* entry = out->add_params();
    entry->set_name(name);
    entry->set_value(value);
  }
  for (const auto& [name, osts] : *pools_) {
    v1::OstPool* entry = out->add_pools();
    entry->set_name(name);
    entry->mutable_osts()->Add(osts.begin(), osts.end());
  }
}

uint64_t ClusterMap::version() const {
  std::lock_guard lock(mutex_);
  return map_.version;
}

void ClusterMap::SetOwnSpace(const v1::TargetSpace& space) {
  std::lock_guard lock(mutex_);
  const uint32_t index = mdt_->superblock().index;
  Space& own = spaces_[Key(true, index)];
  own = {space, options_.clock->Monotonic(), true};
  own.space.set_is_mdt(true);
  own.space.set_index(index);
}

bool ClusterMap::UpLocked(const TargetInfo& target, Nanos now) const {
  if (target.is_mdt && target.index == mdt_->superblock().index) return true;
  const auto found = spaces_.find(Key(target.is_mdt, target.index));
  return found != spaces_.end() && found->second.ever && !found->second.left &&
         now - found->second.heard <= options_.target_timeout;
}

std::vector<v1::TargetSpace> ClusterMap::Targets() const {
  const Nanos now = options_.clock->Monotonic();
  const std::string& fsname = mdt_->superblock().fsname;
  const uint32_t own_index = mdt_->superblock().index;
  std::lock_guard lock(mutex_);
  std::vector<TargetInfo> targets = map_.targets;
  const bool own_listed = std::ranges::any_of(
      targets, [&](const auto& target) { return target.is_mdt && target.index == own_index; });
  if (!own_listed) {
    targets.insert(targets.begin(), {true, own_index, mdt_->superblock().uuid, 0,
                                     "mds" + std::to_string(own_index)});
  }
  std::vector<v1::TargetSpace> spaces;
  for (const TargetInfo& target : targets) {
    v1::TargetSpace space;
    const auto found = spaces_.find(Key(target.is_mdt, target.index));
    if (found != spaces_.end()) space = found->second.space;
    space.set_name(TargetName(fsname, target.is_mdt, target.index));
    space.set_is_mdt(target.is_mdt);
    space.set_index(target.index);
    space.set_server(target.server);
    space.set_up(UpLocked(target, now));
    spaces.push_back(std::move(space));
  }
  return spaces;
}

ClusterMap::OstList ClusterMap::Osts() const {
  const Nanos now = options_.clock->Monotonic();
  std::lock_guard lock(mutex_);
  return OstsLocked(now);
}

ClusterMap::OstList ClusterMap::OstsOf(const std::string& pool) const {
  const Nanos now = options_.clock->Monotonic();
  std::lock_guard lock(mutex_);
  const auto members = pools_->find(pool);
  if (members == pools_->end()) return nullptr;
  const OstList all = OstsLocked(now);
  OstList& part = pool_osts_[pool];
  if (part) return part;
  auto chosen = std::make_shared<std::vector<layout::OstState>>();
  for (const layout::OstState& ost : *all) {
    if (members->second.contains(ost.index)) chosen->push_back(ost);
  }
  return part = std::move(chosen);
}

ClusterMap::OstList ClusterMap::OstsLocked(Nanos now) const {
  if (osts_ && now - osts_built_ < kOstsFresh) return osts_;
  auto osts = std::make_shared<std::vector<layout::OstState>>();
  for (const TargetInfo& target : map_.targets) {
    if (target.is_mdt) continue;
    layout::OstState state;
    state.index = target.index;
    state.server = target.server;
    const auto found = spaces_.find(Key(false, target.index));
    if (found != spaces_.end()) {
      state.bytes_free = found->second.space.bytes_available();
      state.bytes_total = found->second.space.bytes_total();
      state.usable = !Refuses(found->second.space.state());
      const bool lately = now - found->second.heard <= kLately;
      state.reach = !UpLocked(target, now) ? layout::Reach::kAway
                    : lately               ? layout::Reach::kLately
                                           : layout::Reach::kUp;
    } else {
      state.bytes_free = state.bytes_total = kUnknownSpace;
      state.usable = true;
      state.reach = layout::Reach::kAway;
    }
    osts->push_back(std::move(state));
  }
  osts_ = std::move(osts);
  osts_built_ = now;
  pool_osts_.clear();
  return osts_;
}

bool ClusterMap::WarmingUp() const {
  const Nanos now = options_.clock->Monotonic();
  if (now - started_ > options_.target_timeout) return false;
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(map_.targets, [&](const TargetInfo& target) {
    return !target.is_mdt && !spaces_.contains(Key(false, target.index));
  });
}

std::string ClusterMap::ServerOfOst(uint32_t index) const {
  std::lock_guard lock(mutex_);
  for (const TargetInfo& target : map_.targets) {
    if (!target.is_mdt && target.index == index) return target.server;
  }
  return {};
}

std::vector<std::string> ClusterMap::OssNames() const {
  std::set<std::string> names;
  std::lock_guard lock(mutex_);
  for (const TargetInfo& target : map_.targets) {
    if (!target.is_mdt) names.insert(target.server);
  }
  return {names.begin(), names.end()};
}

}  // namespace sheen::mds
