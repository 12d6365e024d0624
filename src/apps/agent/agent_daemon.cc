#include "apps/agent/agent_daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include "apps/agent/agent_params.h"
#include "apps/common/version.h"
#include "base/log.h"
#include "rpc/address.h"

namespace sheen::apps {
namespace {

// Requests to the MDS, token files and credential programs wait here.
constexpr uint32_t kPoolThreads = 8;
constexpr Nanos kBeat = std::chrono::seconds(1);
// While the MDS is away: it is to know of this agent as soon as it is back.
constexpr Nanos kBeatInTrouble = std::chrono::milliseconds(100);
constexpr Nanos kBeatWait = std::chrono::seconds(3);
constexpr Nanos kGoodbyeWait = std::chrono::seconds(1);
// One entry may have to wait for a client to give a lock back.
constexpr Nanos kImportWait = std::chrono::seconds(60);

std::string OwnName() {
  char host[256] = {};
  (void)::gethostname(host, sizeof host - 1);
  return fmt::format("agent-{}-{}", host[0] == '\0' ? "localhost" : host, ::getpid());
}

async::Task<std::vector<v1::ImportReport>> ReportImports(agent::AgentService* service) {
  co_return service->ReportImports();
}

async::Task<bool> BeginDue(agent::AgentService* service, const v1::ListRepositoriesReply* all,
                           const std::vector<v1::ImportReport>* told) {
  service->BeginDue(*all, *told);
  co_return true;
}

async::Task<bool> StopService(agent::AgentService* service) {
  co_await service->Stop();
  co_return true;
}

}  // namespace

Status AgentDaemon::Start() {
  if (config_.name.empty()) config_.name = OwnName();
  SHEEN_TRY_ASSIGN(const rpc::Address address, rpc::ParseAddress(config_.mgs, 7989));
  ShardSetOptions options;
  options.count =
      config_.daemon.shards > 0 ? static_cast<uint32_t>(config_.daemon.shards) : UsableCores();
  options.pool_threads = kPoolThreads;
  options.tcp = config_.network.Tcp();
  SHEEN_TRY_ASSIGN(shards_, ShardSet::Start(options));
  mds_ = std::make_unique<rpc::RepositoryClient>(address, kImportWait);
  beats_ = std::make_unique<rpc::RepositoryClient>(address, kBeatWait);
  service_ = std::make_unique<agent::AgentService>(agent::AgentOptions{
      .pool = shards_->pool(),
      .mds = {.import = [this](const auto& batch) { return mds_->ImportEntries(batch); },
              .list = [this](const auto& look) { return mds_->ListImported(look); },
              .drop = [this](const auto& names) { return mds_->DropDeleted(names); },
              .pending = [this](const auto& look) { return mds_->ListPending(look); },
              .finish = [this](const auto& answers) { return mds_->FinishPending(answers); }},
      .refresh = [this] { return beats_->ListRepositories(); },
      .s3_timeout = std::chrono::seconds(config_.s3_timeout)});
  SHEEN_TRY(StartNodeControl());
  SHEEN_TRY(StartPlanes());
  // Who starts an agent wants to use it: ready when the MDS knows it, or is away.
  const auto known = SayHello();
  if (!known && known.error().code() == Errc::kWrongFilesystem) {
    return std::unexpected(known.error());
  }
  if (!known) {
    SHEEN_LOG(Warn, "no answer from the management server: {}; trying again until it answers",
              known.error().ToString());
  }
  thread_ = std::thread(&AgentDaemon::ThreadMain, this);
  SHEEN_LOG(Info, "sheen-agent {} {}: serves filesystem {} on {}:{}, control port {}", kVersion,
            config_.name, config_.fsname, config_.network.listen, port(), control_port());
  return {};
}

Status AgentDaemon::StartNodeControl() {
  node_ = std::make_unique<NodeControl>(
      NodeControlOptions{.program = "sheen-agent",
                         .metrics = config_.network.metrics,
                         .allow = config_.network.allow});
  AddAgentParams({service_.get(), config_.name, config_.fsname}, node_.get());
  return node_->Start();
}

Status AgentDaemon::StartPlanes() {
  const NetworkOptions& network = config_.network;
  SHEEN_TRY_ASSIGN(plane_, DataPlane::Listen(shards_.get(), {network.listen, static_cast<uint16_t>(
                                                                                 network.port)}));
  rpc::ServerIdentity identity;
  identity.fsname = config_.fsname;
  identity.server_name = config_.name;
  identity.boot = static_cast<uint64_t>(SystemClock().Wall().count());
  sessions_ = std::make_unique<rpc::SessionTable>(identity, nullptr);
  plane_->Serve(sessions_.get(), service_.get(), network.Server());
  SHEEN_TRY_ASSIGN(control_, network.StartControl([this](rpc::GrpcServerOptions options) {
    auto server = std::make_unique<rpc::GrpcServer>(std::move(options));
    server->AddAgentControl(service_.get(), shards_->At(0)->shard.get());
    server->AddAdmin(node_->Functions([this] { return StatusReply(); }));
    return server;
  }));
  return {};
}

v1::AgentHeartbeatRequest AgentDaemon::Beat(bool leaving) const {
  v1::AgentHeartbeatRequest request;
  request.set_fsname(config_.fsname);
  v1::AgentEntry* agent = request.mutable_agent();
  agent->set_name(config_.name);
  for (const std::string& host : config_.network.AdvertisedHosts()) agent->add_hosts(host);
  agent->set_data_port(port());
  agent->set_control_port(control_port());
  request.set_leaving(leaving);
  return request;
}

Result<v1::ListRepositoriesReply> AgentDaemon::SayHello() {
  v1::AgentHeartbeatRequest beat = Beat(false);
  using Reports = std::vector<v1::ImportReport>;
  const Reports told =
      shards_->Await<Reports>(0, [this] { return ReportImports(service_.get()); });
  for (const v1::ImportReport& report : told) *beat.add_imports() = report;
  auto all = beats_->AgentHeartbeat(beat);
  if (!all) return all;
  service_->links()->Set(*all);
  if (told.empty() && all->imports_due().empty()) return all;
  shards_->Await<bool>(0, [this, &all, &told] { return BeginDue(service_.get(), &*all, &told); });
  return all;
}

void AgentDaemon::ThreadMain() {
  bool in_trouble = false;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, in_trouble ? kBeatInTrouble : kBeat, [this] { return stopping_; });
      if (stopping_) return;
    }
    const auto all = SayHello();
    if (!all && !std::exchange(in_trouble, true)) {
      SHEEN_LOG(Warn, "the management server does not answer: {}; trying again until it does",
                all.error().ToString());
    }
    if (all && std::exchange(in_trouble, false)) {
      SHEEN_LOG(Info, "the management server answers again");
    }
  }
}

v1::GetStatusReply AgentDaemon::StatusReply() const {
  v1::GetStatusReply reply;
  reply.set_program("sheen-agent");
  reply.set_fsname(config_.fsname);
  reply.set_server_name(config_.name);
  reply.set_pid(static_cast<uint64_t>(::getpid()));
  reply.set_connections(plane_->connection_count());
  reply.set_state(fmt::format("serving {} data repositories, {} bytes in {} fetches",
                              service_->links()->size(), service_->fetched_bytes(),
                              service_->fetches()));
  return reply;
}

void AgentDaemon::Stop() {
  if (std::exchange(stopped_, true)) return;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (node_ != nullptr) node_->Stop();
  if (thread_.joinable()) {
    thread_.join();
    const Result<rpc::Address> address = rpc::ParseAddress(config_.mgs, 7989);
    if (address) {
      (void)rpc::RepositoryClient(*address, kGoodbyeWait).AgentHeartbeat(Beat(true));
    }
  }
  // An import waits for the MDS as long as a batch may take, and what it asks for is done or not.
  if (mds_ != nullptr) mds_->BeginStop();
  // Before the calls that wait for it are to end.
  if (service_ != nullptr && shards_ != nullptr) {
    (void)shards_->Await<bool>(0, [this] { return StopService(service_.get()); });
  }
  if (control_ != nullptr) control_->Stop(std::chrono::seconds(2));
  if (service_ != nullptr && shards_ != nullptr) {
    (void)shards_->Await<bool>(0, [this] { return StopService(service_.get()); });
  }
  if (plane_ != nullptr) plane_->Stop();
  if (shards_ != nullptr) shards_->Stop();
}

}  // namespace sheen::apps
