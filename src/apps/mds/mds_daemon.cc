#include "apps/mds/mds_daemon.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "apps/common/disk_identity.h"
#include "apps/common/version.h"
#include "apps/common/words.h"
#include "apps/mds/mds_params.h"
#include "base/log.h"
#include "base/machine_boot.h"
#include "kv/rocks_store.h"
#include "kv/space_reserve.h"
#include "mdt/schema.h"

namespace sheen::apps {
namespace {

// Threads for RocksDB calls that wait: one syncs, the others read what is not cached.
constexpr uint32_t kPoolThreads = 6;

Result<v1::TargetSpace> SpaceOf(const std::string& directory) {
  struct statvfs space {};
  struct stat info {};
  if (::statvfs(directory.c_str(), &space) != 0 || ::stat(directory.c_str(), &info) != 0) {
    return FailErrno(errno, "statvfs " + directory);
  }
  v1::TargetSpace out;
  out.set_bytes_total(space.f_blocks * space.f_frsize);
  out.set_bytes_free(space.f_bfree * space.f_frsize);
  out.set_bytes_available(space.f_bavail * space.f_frsize);
  out.set_files_total(space.f_files);
  out.set_files_free(space.f_ffree);
  out.set_device(DiskIdentity(info.st_dev));
  return out;
}

// What a compaction may write now; a disk that does not say how much it has does not limit it.
uint64_t CompactionRoom(const std::string& directory) {
  const auto space = SpaceOf(directory);
  if (!space || space->bytes_total() == 0) return UINT64_MAX;
  const uint64_t floor = kv::CompactionFloor(kv::SpaceReserve(space->bytes_total()));
  return space->bytes_available() - std::min(space->bytes_available(), floor);
}

std::optional<rpc::Address> ControlAddressOf(const v1::ClusterMap& map, const std::string& name) {
  for (const v1::ServerEntry& server : map.servers()) {
    if (server.name() != name || server.hosts().empty()) continue;
    return rpc::Address{server.hosts(0), static_cast<uint16_t>(server.control_port())};
  }
  return std::nullopt;
}

std::unexpected<Error> NotFormatted(const MdsConfig& config) {
  return Fail(
      Errc::kNoEntry,
      fmt::format("{} holds no metadata target; make one with: sheen format mdt --fsname {} "
                  "--dir {}",
                  config.dir, config.fsname.empty() ? "sheen" : config.fsname, config.dir));
}

}  // namespace

MdsDaemon::MdsDaemon(MdsConfig config) : config_(std::move(config)) {}

MdsDaemon::~MdsDaemon() { Stop(); }

Status MdsDaemon::Start() {
  SHEEN_TRY(OpenStore());
  ShardSetOptions options;
  options.count =
      config_.daemon.shards > 0 ? static_cast<uint32_t>(config_.daemon.shards) : UsableCores();
  options.pool_threads = kPoolThreads;
  options.tcp = config_.network.Tcp();
  SHEEN_TRY_ASSIGN(shards_, ShardSet::Start(options));
  SHEEN_TRY(OpenService());
  SHEEN_TRY(ServeData());
  SHEEN_TRY(ServeControl());
  SHEEN_LOG(Info, "{} {}: {} serves on {}:{}, control port {}, boot {}, {} threads", "sheen-mds",
            kVersion, service_->mdt_name(), config_.network.listen, port(), control_port(),
            service_->boot(), shards_->size());
  return {};
}

Status MdsDaemon::OpenStore() {
  kv::RocksOptions options;
  options.directory = config_.dir;
  options.families = mdt::FamilyNames();
  // Without a directory there is no space; the store says so better.
  const auto space = SpaceOf(config_.dir);
  if (space) options.reserve_bytes = kv::SpaceReserve(space->bytes_total());
  options.compaction_room = [directory = config_.dir] { return CompactionRoom(directory); };
  auto store = kv::OpenRocksStore(options);
  if (store) {
    store_ = std::move(*store);
    return {};
  }
  if (store.error().code() == Errc::kNoEntry) return NotFormatted(config_);
  return std::unexpected(Annotate(WithStoreRemedy(store.error(), config_.dir),
                                  "cannot serve the metadata target: "));
}

Status MdsDaemon::OpenService() {
  objects_ = std::make_unique<rpc::GrpcObjectControl>([this](const std::string& server) {
    return ControlAddressOf(service_->GetClusterMap(), server);
  });
  agents_ = std::make_unique<rpc::GrpcAgentCalls>();
  mds::MdsOptions options;
  options.store = store_.get();
  options.pool = shards_->pool();
  options.objects = objects_.get();
  options.agents = agents_.get();
  options.clock = &SystemClock();
  options.fsname = config_.fsname;
  options.machine_boot_id = MachineBootId();
  options.faults = &faults_;
  options.own_space = [directory = config_.dir] { return SpaceOf(directory); };
  options.on_map_changed = [this](uint64_t version) {
    SHEEN_LOG(Info, "cluster map version {}", version);
    if (plane_ != nullptr) plane_->Broadcast(rpc::Opcode::kMapChanged, "");
  };
  options.on_session_evicted = [this](uint64_t session) { sessions_->Erase(session); };
  service_ = std::make_unique<mds::MdsService>(options);
  const Status opened = service_->Open();
  if (!opened && opened.error().code() == Errc::kNoEntry) return NotFormatted(config_);
  return opened;
}

Status MdsDaemon::ServeData() {
  const NetworkOptions& network = config_.network;
  SHEEN_TRY_ASSIGN(
      auto plane,
      DataPlane::Listen(shards_.get(),
                        {network.listen, static_cast<uint16_t>(network.port)}));
  plane_ = std::move(plane);
  sessions_ = std::make_unique<rpc::SessionTable>(service_->Identity(), service_.get());
  sessions_->Load(service_->LoadSessions());
  background_ = true;
  return shards_->RunOn(0, [this](ShardSet::Member* member) {
    service_->StartBackground(member->shard.get());
    return Status{};
  });
}

Status MdsDaemon::StartNodeControl() {
  node_ = std::make_unique<NodeControl>(NodeControlOptions{
      .program = "sheen-mds", .metrics = config_.network.metrics, .allow = config_.network.allow});
  node_->set_faults(&faults_);
  AddMdsParams({service_.get(), sessions_.get()}, node_.get());
  node_->set_changelog_user([this](const v1::ChangelogUserRequest& request) {
    return shards_->Await<Result<v1::ChangelogUserReply>>(
        0, [this, request] { return service_->ChangeChangelogUser(request); });
  });
  node_->set_pools(
      [this](const v1::PoolRequest& request) { return service_->HandlePool(request); });
  for (const auto& [name, value] : service_->KeptParams()) node_->Apply(name, value);
  return node_->Start();
}

Status MdsDaemon::ServeControl() {
  SHEEN_TRY(StartNodeControl());
  SHEEN_TRY_ASSIGN(control_, config_.network.StartControl([this](rpc::GrpcServerOptions options) {
    auto server = std::make_unique<rpc::GrpcServer>(std::move(options));
    server->AddManagement(service_.get());
    server->AddRepositories(service_->repositories(), shards_->At(0)->shard.get());
    server->AddAdmin(node_->Functions([this] { return StatusReply(); }));
    return server;
  }));
  SHEEN_TRY(RegisterSelf());
  rpc::ServerOptions data = config_.network.Server();
  data.faults = &faults_;
  plane_->Serve(sessions_.get(), service_.get(), data);
  return {};
}

Status MdsDaemon::RegisterSelf() {
  const rpc::ServerIdentity identity = service_->Identity();
  v1::RegisterServerRequest request;
  request.set_fsname(identity.fsname);
  v1::ServerEntry* server = request.mutable_server();
  server->set_name(identity.server_name);
  for (const std::string& host : config_.network.AdvertisedHosts()) server->add_hosts(host);
  server->set_data_port(port());
  server->set_control_port(control_port());
  v1::TargetEntry* target = request.add_targets();
  target->set_name(service_->mdt_name());
  target->set_is_mdt(true);
  const Uuid& uuid = service_->mdt_uuid();
  target->set_uuid(uuid.bytes.data(), uuid.bytes.size());
  target->set_generation(1);
  target->set_server(identity.server_name);
  SHEEN_TRY(service_->RegisterServer(request));
  return {};
}

v1::GetStatusReply MdsDaemon::StatusReply() {
  v1::GetStatusReply reply;
  const rpc::ServerIdentity identity = service_->Identity();
  reply.set_program("sheen-mds");
  reply.set_fsname(identity.fsname);
  reply.set_server_name(identity.server_name);
  reply.set_pid(static_cast<uint64_t>(::getpid()));
  reply.set_boot(service_->boot());
  reply.set_connections(plane_->connection_count());
  reply.set_sessions(service_->session_count());
  for (v1::TargetSpace& target : service_->TargetStates()) *reply.add_targets() = std::move(target);
  const std::string reason = service_->StopReason();
  reply.set_state(reason.empty() ? "serving" : "stopped: " + reason);
  return reply;
}

void MdsDaemon::Stop() {
  if (node_ != nullptr) node_->Stop();
  if (service_ != nullptr) service_->BeginStop();
  if (objects_ != nullptr) objects_->BeginStop();
  if (control_ != nullptr) control_->Stop(std::chrono::seconds(2));
  if (plane_ != nullptr) plane_->Stop();
  if (std::exchange(background_, false)) {
    const Status stopped = shards_->Await<Status>(0, [this] { return service_->Stop(); });
    if (!stopped) SHEEN_LOG(Error, "last commit failed: {}", stopped.error().ToString());
  }
  if (shards_ != nullptr) shards_->Stop();
}

}  // namespace sheen::apps
