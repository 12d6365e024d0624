#include "apps/oss/oss_daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "apps/common/disk_identity.h"
#include "apps/common/ost_notes.h"
#include "apps/common/version.h"
#include "apps/common/words.h"
#include "apps/oss/oss_params.h"
#include "base/log.h"
#include "kv/rocks_store.h"
#include "ost/format.h"
#include "rpc/address.h"

namespace sheen::apps {
namespace {

// Threads for what io_uring cannot do and for RocksDB calls that wait.
constexpr uint32_t kPoolThreads = 6;
// How long the start of a server without a name waits before it says what it waits for.
constexpr uint32_t kNamePatienceSeconds = 10;
// So long no agent is named before those known are taken for gone.
constexpr Nanos kAgentsAway = std::chrono::seconds(5);
// How long the start of a server waits for an MGS that is at it, and for one that is away.
constexpr Nanos kReadyPatience = std::chrono::seconds(30);
constexpr Nanos kAwayPatience = std::chrono::seconds(3);
constexpr Nanos kReadyLook = std::chrono::milliseconds(100);

using TargetResult = Result<std::unique_ptr<ost::Target>>;

async::Task<bool> StopAgents(oss::AgentPool* agents) {
  co_await agents->StopOnShard();
  co_return true;
}

std::unexpected<Error> NotFormatted(const std::string& directory) {
  return Fail(
      Errc::kNoEntry,
      fmt::format("{} holds no OST; make one with: sheen format ost --fsname sheen --index N "
                  "--mgs HOST:CONTROLPORT --dir {}",
                  directory, directory));
}

// Each directory once, and with its objects: a target without them would take every file for empty.
Status CheckDirectory(const std::string& directory, std::set<std::string>* seen) {
  if (!seen->insert(NormalPath(directory)).second) {
    return Fail(Errc::kInvalid,
                fmt::format("--target {} is given twice; name each directory once", directory));
  }
  if (::access((directory + "/objects").c_str(), F_OK) == 0 || errno != ENOENT) return {};
  return std::unexpected(WithStoreRemedy(
      Error(Errc::kCorrupt,
            fmt::format("{}/objects is gone, which holds the data of this OST", directory)),
      directory));
}

}  // namespace

OssDaemon::OssDaemon(OssConfig config) : config_(std::move(config)) {}

OssDaemon::~OssDaemon() { Stop(); }

Status OssDaemon::Start() {
  SHEEN_TRY(ReadNotes());
  ShardSetOptions options;
  options.count =
      config_.daemon.shards > 0 ? static_cast<uint32_t>(config_.daemon.shards) : UsableCores();
  options.pool_threads = kPoolThreads;
  options.tcp = config_.network.Tcp();
  SHEEN_TRY_ASSIGN(shards_, ShardSet::Start(options));
  SHEEN_TRY(OpenTargets());
  SHEEN_TRY(StartService());
  SHEEN_TRY(StartControl());
  SHEEN_TRY(StartRegistrar());
  SHEEN_TRY(ServeData());
  AwaitUp();
  SHEEN_LOG(Info, "sheen-oss {} {}: {} OSTs of {} serve on {}:{}, control port {}, {} threads",
            kVersion, config_.name, targets_.size(), fsname_, config_.network.listen, port(),
            control_port(), shards_->size());
  return {};
}

// The targets' notes give the MGS and the server's name where the command line does not.
Status OssDaemon::ReadNotes() {
  std::set<std::string> mgs(config_.mgs.begin(), config_.mgs.end());
  std::set<std::string> seen;
  for (const std::string& directory : config_.targets) {
    // Before anything is written there.
    if (::access((directory + "/superblock").c_str(), F_OK) != 0 && errno == ENOENT) {
      return NotFormatted(directory);
    }
    SHEEN_TRY(CheckDirectory(directory, &seen));
    SHEEN_TRY_ASSIGN(const OstNotes notes, ReadOstNotes(directory));
    if (config_.mgs.empty()) mgs.insert(notes.mgs.begin(), notes.mgs.end());
    if (config_.name.empty()) config_.name = notes.server_name;
  }
  if (mgs.empty()) {
    return Fail(Errc::kInvalid,
                "no management server: give --mgs HOST:CONTROLPORT (sheen-mds's control port, 7989 "
                "by default)");
  }
  for (const std::string& text : mgs) {
    SHEEN_TRY_ASSIGN(const rpc::Address address, rpc::ParseAddress(text, 7989));
    mgs_.push_back(address);
  }
  return {};
}

Status OssDaemon::OpenTargets() {
  for (const std::string& directory : config_.targets) {
    SHEEN_TRY_ASSIGN(Ost ost, OpenTarget(directory));
    const ost::Superblock& superblock = ost.target->superblock();
    if (!fsname_.empty() && fsname_ != superblock.fsname) {
      return Fail(Errc::kWrongFilesystem,
                  fmt::format("{} is an OST of filesystem {}, the targets before it of {}; one "
                              "sheen-oss serves one filesystem",
                              directory, superblock.fsname, fsname_));
    }
    fsname_ = superblock.fsname;
    targets_.push_back(std::move(ost));
  }
  return {};
}

Result<OssDaemon::Ost> OssDaemon::OpenTarget(const std::string& directory) {
  Ost out;
  out.directory = directory;
  auto lock = ost::DirectoryLock::Acquire(directory);
  if (!lock && lock.error().code() == Errc::kNoEntry) return NotFormatted(directory);
  if (!lock) return std::unexpected(WithStoreRemedy(lock.error(), directory));
  kv::RocksOptions store;
  store.directory = directory + "/index";
  store.families = ost::IndexFamilies();
  auto index = kv::OpenRocksStore(store);
  if (!index && index.error().code() == Errc::kNoEntry) return NotFormatted(directory);
  if (!index) {
    return std::unexpected(
        Annotate(WithStoreRemedy(index.error(), directory), "cannot open the index: "));
  }
  out.index = std::move(*index);
  ost::OpenOptions options;
  options.directory = directory;
  options.fsname = config_.fsname;
  options.index = out.index.get();
  options.pool = shards_->pool();
  options.lock = std::move(*lock);
  TargetResult target = shards_->Await<TargetResult>(0, [this, &options] {
    return ost::Target::Open(shards_->At(0)->files.get(), std::move(options));
  });
  if (!target && target.error().code() == Errc::kNoEntry) return NotFormatted(directory);
  if (!target) return std::unexpected(WithStoreRemedy(target.error(), directory));
  out.target = std::move(*target);
  return out;
}

Status OssDaemon::StartService() {
  oss::OssOptions options;
  options.checksums = config_.network.checksums;
  options.faults = &faults_;
  service_ = std::make_unique<oss::OssService>(options);
  std::set<uint32_t> seen;
  for (const Ost& ost : targets_) {
    const uint32_t index = ost.target->superblock().ost_index;
    if (!seen.insert(index).second) {
      return Fail(Errc::kInvalid,
                  fmt::format("{} was given twice: two targets have OST index {}; name each "
                              "directory once",
                              ost.target->name(), index));
    }
    service_->AddTarget(index, ost.target.get());
  }
  agents_ = std::make_unique<oss::AgentPool>(fsname_);
  for (uint32_t i = 0; i < shards_->size(); ++i) {
    ShardSet::Member* const member = shards_->At(i);
    service_->RegisterShard(member->shard.get(), member->files.get());
    agents_->RegisterShard(member->shard.get(), member->transport.get());
  }
  service_->SetBlockSource(agents_.get());
  background_ = true;
  SHEEN_TRY(shards_->RunOn(0, [this](ShardSet::Member* member) {
    service_->StartBackground(member->shard.get());
    return Status{};
  }));
  const NetworkOptions& network = config_.network;
  SHEEN_TRY_ASSIGN(
      plane_,
      DataPlane::Listen(shards_.get(), {network.listen, static_cast<uint16_t>(network.port)}));
  return {};
}

Status OssDaemon::StartNodeControl() {
  OssParamsOwner owner;
  owner.service = service_.get();
  owner.sessions = sessions_.get();
  owner.agents = agents_.get();
  owner.spaces = [this] { return Spaces(); };
  node_->set_faults(&faults_);
  AddOssParams(owner, node_.get());
  node_->ApplyKeptAgain();
  return node_->Start();
}

Status OssDaemon::StartControl() {
  node_ = std::make_unique<NodeControl>(NodeControlOptions{
      .program = "sheen-oss", .metrics = config_.network.metrics, .allow = config_.network.allow});
  SHEEN_TRY_ASSIGN(control_, config_.network.StartControl([this](rpc::GrpcServerOptions options) {
    auto server = std::make_unique<rpc::GrpcServer>(std::move(options));
    server->AddObjectControl(service_.get(), shards_->At(0)->shard.get());
    server->AddAdmin(node_->Functions([this] { return StatusReply(); }));
    return server;
  }));
  return {};
}

Status OssDaemon::StartRegistrar() {
  RegistrarOptions options;
  options.mgs = mgs_;
  options.request.set_fsname(fsname_);
  v1::ServerEntry* server = options.request.mutable_server();
  server->set_name(config_.name);
  for (const std::string& host : config_.network.AdvertisedHosts()) server->add_hosts(host);
  server->set_data_port(port());
  server->set_control_port(control_port());
  for (const Ost& ost : targets_) {
    const ost::Superblock& superblock = ost.target->superblock();
    v1::TargetEntry* target = options.request.add_targets();
    target->set_name(ost.target->name());
    target->set_index(superblock.ost_index);
    target->set_uuid(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
    target->set_generation(superblock.generation);
    target->set_server(config_.name);
  }
  options.spaces = [this] { return Spaces(); };
  options.on_heartbeat = [this](const v1::HeartbeatReply& reply) { SetAgents(reply); };
  options.on_registered = [this](const std::string& name) { RememberName(name); };
  options.on_map = [this](const v1::ClusterMap& map) { node_->ApplyKept(map); };
  registrar_ = std::make_unique<Registrar>(std::move(options));
  agents_->OnWanted([this] { registrar_->Hurry(); });
  registrar_->Start();
  return {};
}

Status OssDaemon::WaitForName() {
  for (uint32_t waited = 0; config_.name.empty(); ++waited) {
    const Result<std::string> name = registrar_->WaitForName(std::chrono::seconds(1));
    if (name) {
      config_.name = *name;
      return {};
    }
    if (name.error().error_class() != ErrClass::kRetry) {
      return std::unexpected(Annotate(name.error(), "the management server refused this server: "));
    }
    if (config_.stop_pending && config_.stop_pending()) {
      return Fail(Errc::kCancelled,
                  fmt::format("stopped while waiting for the management server: {}",
                              name.error().ToString()));
    }
    if (waited % kNamePatienceSeconds == 0) {
      NotifySystemd("STATUS=waiting for the management server: " + name.error().ToString());
    }
  }
  return {};
}

// Who starts this server next wants to use it: it is ready when the MGS knows that it is up, or
// when the MGS is away. One that is busy, with a disk that is, is not away.
void OssDaemon::AwaitUp() {
  const Nanos deadline = SystemClock().Monotonic() + kReadyPatience;
  while (!registrar_->WaitForName(kReadyLook)) {
    const Nanos now = SystemClock().Monotonic();
    const std::optional<Nanos> away = registrar_->TroubleSince();
    if (now >= deadline || (away && now - *away >= kAwayPatience)) return;
    if (config_.stop_pending && config_.stop_pending()) return;
  }
}

Status OssDaemon::ServeData() {
  SHEEN_TRY(WaitForName());
  rpc::ServerIdentity identity;
  identity.fsname = fsname_;
  identity.server_name = config_.name;
  identity.boot = service_->Boot();
  identity.recovered_transno = service_->RecoveredTransno();
  identity.features = oss::OssService::kFeatures;
  sessions_ = std::make_unique<rpc::SessionTable>(identity, service_.get());
  using Sessions = Result<std::vector<std::shared_ptr<rpc::Session>>>;
  Sessions sessions = shards_->Await<Sessions>(0, [this] { return service_->LoadSessions(); });
  if (!sessions) return std::unexpected(Annotate(sessions.error(), "cannot read the sessions: "));
  sessions_->Load(std::move(*sessions));
  rpc::ServerOptions data = config_.network.Server();
  data.faults = &faults_;
  plane_->Serve(sessions_.get(), service_.get(), data);
  return StartNodeControl();
}

// On the registrar's thread.
void OssDaemon::RememberName(const std::string& name) {
  {
    const std::lock_guard lock(name_mutex_);
    registered_name_ = name;
  }
  std::vector<std::string> mgs;
  for (const rpc::Address& address : mgs_) mgs.push_back(address.ToString());
  for (const Ost& ost : targets_) {
    const Result<OstNotes> now = ReadOstNotes(ost.directory);
    if (now && now->server_name == name && now->mgs == mgs) continue;
    const Status written = WriteOstNotes(ost.directory, {mgs, name});
    if (!written)
      SHEEN_LOG(Warn, "cannot remember the server's name: {}", written.error().ToString());
  }
}

// On the registrar's thread.
void OssDaemon::SetAgents(const v1::HeartbeatReply& reply) {
  std::set<std::string> own{"127.0.0.1", "localhost", "::1"};
  for (const std::string& host : config_.network.AdvertisedHosts()) own.insert(host);
  std::vector<oss::AgentInfo> agents;
  for (const v1::AgentEntry& entry : reply.agents()) {
    oss::AgentInfo& agent = agents.emplace_back();
    agent.name = entry.name();
    for (const std::string& host : entry.hosts()) {
      agent.addresses.push_back({host, static_cast<uint16_t>(entry.data_port())});
      agent.near = agent.near || own.contains(host);
    }
  }
  // An MDS that has just started knows of no agents yet: those that were there go on.
  const Nanos now = SystemClock().Monotonic();
  if (!agents.empty()) agents_seen_ = now;
  if (agents.empty() && agents_seen_ && now - *agents_seen_ < kAgentsAway) return;
  agents_->SetAgents(std::move(agents));
}

std::vector<v1::TargetSpace> OssDaemon::Spaces() {
  auto spaces =
      shards_->Await<std::vector<v1::TargetSpace>>(0, [this] { return service_->TargetSpaces(); });
  for (v1::TargetSpace& space : spaces) space.set_device(DiskIdentity(space.device()));
  return spaces;
}

v1::GetStatusReply OssDaemon::StatusReply() {
  v1::GetStatusReply reply;
  reply.set_program("sheen-oss");
  reply.set_fsname(fsname_);
  {
    const std::lock_guard lock(name_mutex_);
    reply.set_server_name(registered_name_);
  }
  reply.set_pid(static_cast<uint64_t>(::getpid()));
  reply.set_boot(service_->Boot());
  reply.set_connections(plane_->connection_count());
  for (v1::TargetSpace& target : Spaces()) *reply.add_targets() = std::move(target);
  reply.set_state(service_->StateText());
  return reply;
}

void OssDaemon::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (registrar_ != nullptr) registrar_->Stop();
  if (node_ != nullptr) node_->Stop();
  // Who waits for S3 is told that the server stops, not that S3 failed; and orders of the control
  // plane that wait for it end.
  if (service_ != nullptr) service_->BeginStop();
  if (agents_ != nullptr) agents_->BeginStop();
  if (control_ != nullptr) control_->Stop(std::chrono::seconds(2));
  if (plane_ != nullptr) plane_->Stop();
  if (std::exchange(background_, false)) {
    const Status stopped = shards_->Await<Status>(0, [this] { return service_->Stop(); });
    if (!stopped) SHEEN_LOG(Error, "last commit failed: {}", stopped.error().ToString());
  }
  for (uint32_t i = 0; agents_ != nullptr && i < shards_->size(); ++i) {
    (void)shards_->Await<bool>(i, [this] { return StopAgents(agents_.get()); });
  }
  for (const Ost& ost : targets_) {
    if (ost.target == nullptr || shards_ == nullptr) continue;
    const Status closed = shards_->Await<Status>(
        0, [this, &ost] { return ost.target->Close(shards_->At(0)->files.get()); });
    if (!closed) SHEEN_LOG(Error, "{}: {}", ost.target->name(), closed.error().ToString());
  }
  if (shards_ != nullptr) shards_->Stop();
}

}  // namespace sheen::apps
