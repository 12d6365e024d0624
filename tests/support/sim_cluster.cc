#include "support/sim_cluster.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "mdt/mdt.h"
#include "mdt/schema.h"
#include "ost/format.h"
#include "support/mortal_disk.h"

namespace sheen::test {
namespace {

constexpr Nanos kPatience = std::chrono::hours(1);
constexpr const char* kFsname = "sim";

async::Task<void> Then(async::Task<void> task, std::shared_ptr<bool> done) {
  co_await std::move(task);
  *done = true;
}

async::Task<void> Mount(client::Filesystem* fs, bool* mounted) {
  const Status status = co_await fs->Mount();
  EXPECT_TRUE(status) << (status ? "" : status.error().ToString());
  *mounted = status.has_value();
}

async::Task<void> StopService(rpc::Server* server, async::Task<Status> stop) {
  co_await server->Stop();
  const Status stopped = co_await std::move(stop);
  EXPECT_TRUE(stopped) << (stopped ? "" : stopped.error().ToString());
}

std::unique_ptr<rpc::Listener> ListenOn(rpc::SimTransport* transport, uint16_t port,
                                        rpc::Server* server) {
  auto listener = transport->Listen(
      {"", port}, [server](std::unique_ptr<rpc::Link> link) { server->Accept(std::move(link)); });
  EXPECT_TRUE(listener.has_value());
  return listener ? std::move(*listener) : nullptr;
}

}  // namespace

uint64_t TestSeed() {
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64() >> 16;
  std::printf("SHEEN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

struct SimCluster::Mds {
  const std::shared_ptr<Fuse> fuse = std::make_shared<Fuse>();
  std::unique_ptr<kv::Store> real_store;
  std::unique_ptr<kv::Store> store;
  std::unique_ptr<mds::MdsService> service;
  std::unique_ptr<rpc::SessionTable> sessions;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<rpc::SimTransport> transport;
  std::unique_ptr<rpc::Listener> listener;
};

struct SimCluster::Ost {
  explicit Ost(uint32_t ost_index)
      : index(ost_index), disk(ost::IndexFamilies().size()), path("/ost") {
    files.MakeDurableDirectory(path);
  }
  const uint32_t index;
  io::MemoryFileSystem files;
  kv::MemoryDisk disk;
  std::string path;
  bool formatted = false;
  std::shared_ptr<Fuse> fuse;
  std::unique_ptr<kv::Store> real_store;
  std::unique_ptr<kv::Store> store;
  std::unique_ptr<io::MemoryFileIo> real_io;
  std::unique_ptr<io::FileIo> io;
  std::unique_ptr<ost::Target> target;
};

// One OSS a simulated OST: each has a file system of its own.
struct SimCluster::Oss {
  struct Server {
    std::unique_ptr<oss::OssService> service;
    std::unique_ptr<rpc::SessionTable> sessions;
    std::unique_ptr<rpc::Server> server;
    std::unique_ptr<rpc::SimTransport> transport;
    std::unique_ptr<rpc::Listener> listener;
  };
  std::vector<Server> servers;
};

struct SimCluster::ClientNode {
  std::unique_ptr<rpc::SimTransport> transport;
  std::unique_ptr<client::Filesystem> filesystem;
};

// The control plane without gRPC: calls the OSS's service of that name.
struct SimCluster::Control final : rpc::ObjectControl {
  explicit Control(SimCluster* c) : cluster(c) {}
  rpc::ObjectControlService* Find(const std::string& server) {
    if (cluster->oss_ == nullptr || cluster->mds_dead_ || cluster->oss_dead_) return nullptr;
    for (auto& oss : cluster->oss_->servers) {
      if (oss.sessions->identity().server_name == server) return oss.service.get();
    }
    return nullptr;
  }
  async::Task<Status> DestroyObjects(std::string server,
                                     v1::DestroyObjectsRequest request) override {
    rpc::ObjectControlService* service = Find(server);
    if (service == nullptr) co_return Fail(Errc::kUnavailable, server + " is down");
    Status status = co_await service->DestroyObjects(std::move(request));
    co_return status;
  }
  async::Task<Status> SetObjectOwner(std::string server,
                                     v1::SetObjectOwnerRequest request) override {
    rpc::ObjectControlService* service = Find(server);
    if (service == nullptr) co_return Fail(Errc::kUnavailable, server + " is down");
    Status status = co_await service->SetObjectOwner(std::move(request));
    co_return status;
  }
  async::Task<Status> FenceSession(std::string server, v1::FenceSessionRequest request) override {
    rpc::ObjectControlService* service = Find(server);
    if (service == nullptr) co_return Fail(Errc::kUnavailable, server + " is down");
    Status status = co_await service->FenceSession(std::move(request));
    co_return status;
  }
  SimCluster* cluster;
};

SimCluster::SimCluster(SimOptions options)
    : options_(options),
      network_(&shard_, {.seed = options.seed, .break_one_in = options.break_one_in}),
      mds_disk_(mdt::FamilyNames().size()),
      control_(std::make_unique<Control>(this)) {
  SetLogLevel(std::getenv("SHEEN_LOG") != nullptr ? LogLevel::Info : LogLevel::Error);
  const auto store = kv::OpenMemoryStore(&mds_disk_);
  const Status formatted =
      mdt::Format(store.get(), {.fsname = kFsname, .now_ns = clock_.Wall().count()});
  EXPECT_TRUE(formatted) << (formatted ? "" : formatted.error().ToString());
  mds_disk_.WouldBlockEvery(options.would_block_every);
  for (uint32_t i = 0; i < options.ost_count; ++i) osts_.push_back(std::make_unique<Ost>(i));
  StartMds();
  StartOss();
  shard_.Post([this] { shard_.Spawn(Heartbeats()); });
}

SimCluster::~SimCluster() {
  network_.SetOptions({});
  for (const std::string& name : lost_) {
    network_.Heal(name, "mds0");
    for (auto& ost : osts_) network_.Heal(name, "oss" + std::to_string(ost->index));
  }
  for (auto& client : clients_) Run(client->filesystem->Unmount());
  stopping_ = true;
  StopOss();
  StopMds();
  async::RunFor(&shard_, std::chrono::seconds(5));
  clients_.clear();
}

std::shared_ptr<bool> SimCluster::Begin(async::Task<void> task) {
  const auto done = std::make_shared<bool>(false);
  const auto moved = std::make_shared<async::Task<void>>(std::move(task));
  // Within a turn: what the task starts looks for the current shard.
  shard_.Post([this, moved, done] { shard_.Spawn(Then(std::move(*moved), done)); });
  return done;
}

void SimCluster::Finish(std::shared_ptr<bool> done) {
  ASSERT_TRUE(async::RunUntil(
      &shard_, [&done] { return *done; }, kPatience))
      << "something waits for ever";
}

void SimCluster::Run(async::Task<void> task) { Finish(Begin(std::move(task))); }

client::Filesystem* SimCluster::AddClient(const std::string& name, Nanos deadline) {
  auto node = std::make_unique<ClientNode>();
  node->transport = std::make_unique<rpc::SimTransport>(&network_, name);
  client::Options options;
  options.fsname = kFsname;
  options.mgs = {{"mds0", 7988}};
  options.deadline = deadline;
  options.faults = faults(name);
  node->filesystem = std::make_unique<client::Filesystem>(options);
  node->filesystem->AddShard(&shard_, node->transport.get());
  bool mounted = false;
  Run(Mount(node->filesystem.get(), &mounted));
  EXPECT_TRUE(mounted);
  clients_.push_back(std::move(node));
  return clients_.back()->filesystem.get();
}

void SimCluster::RemoveClient(client::Filesystem* client) {
  Run(client->Unmount());
  async::RunFor(&shard_, std::chrono::seconds(1));
  std::erase_if(clients_, [client](const auto& node) { return node->filesystem.get() == client; });
}

void SimCluster::LoseClient(const std::string& name) {
  network_.Partition(name, "mds0");
  network_.Break(name, "mds0");
  for (auto& ost : osts_) {
    network_.Partition(name, "oss" + std::to_string(ost->index));
    network_.Break(name, "oss" + std::to_string(ost->index));
  }
  lost_.push_back(name);
}

size_t SimCluster::ObjectCount() {
  size_t count = 0;
  for (auto& ost : osts_) {
    const auto cursor = ost->store->NewCursor(ost::kObjectFamily, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) ++count;
  }
  return count;
}

void SimCluster::StartMds() {
  mds_ = std::make_unique<Mds>();
  mds_->real_store = kv::OpenMemoryStore(&mds_disk_);
  mds_->store = std::make_unique<MortalStore>(mds_->real_store.get(), mds_->fuse);
  mds_->service = std::make_unique<mds::MdsService>(mds::MdsOptions{
      .store = mds_->store.get(),
      .pool = &pool_,
      .objects = control_.get(),
      .clock = &clock_,
      .fsname = kFsname,
      .machine_boot_id = "sim" + std::to_string(mds_machine_boot_),
      .on_session_evicted = [this](uint64_t session) { mds_->sessions->Erase(session); },
      .faults = faults("mds0")});
  const Status opened = mds_->service->Open();
  ASSERT_TRUE(opened) << opened.error().ToString();
  mds_->sessions =
      std::make_unique<rpc::SessionTable>(mds_->service->Identity(), mds_->service.get());
  mds_->sessions->Load(mds_->service->LoadSessions());
  mds_->server = std::make_unique<rpc::Server>(&shard_, mds_->sessions.get(), mds_->service.get(),
                                               rpc::ServerOptions{.faults = faults("mds0")});
  mds_->transport = std::make_unique<rpc::SimTransport>(&network_, "mds0");
  mds_->listener = ListenOn(mds_->transport.get(), 7988, mds_->server.get());
  mds_->service->StartBackground(&shard_);
}

void SimCluster::StopMds() {
  mds_->listener.reset();
  Run(StopService(mds_->server.get(), mds_->service->Stop()));
  network_.Kill("mds0");
  mds_.reset();
}

async::Task<void> SimCluster::OpenTargets() {
  for (auto& ost : osts_) {
    ost->fuse = std::make_shared<Fuse>();
    ost->real_store = kv::OpenMemoryStore(&ost->disk);
    ost->store = std::make_unique<MortalStore>(ost->real_store.get(), ost->fuse);
    ost->real_io = std::make_unique<io::MemoryFileIo>(&ost->files, &shard_);
    ost->io = std::make_unique<MortalFileIo>(ost->real_io.get(), ost->fuse);
    if (!ost->formatted) {
      ost::FormatOptions format;
      format.directory = ost->path;
      format.fsname = kFsname;
      format.ost_index = ost->index;
      format.now_ns = clock_.Wall().count();
      format.size_limit_bytes = options_.ost_bytes;
      auto made = co_await ost::Format(ost->io.get(), ost->store.get(), format);
      EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
      ost->formatted = true;
    }
    ost::OpenOptions open;
    open.directory = ost->path;
    open.fsname = kFsname;
    open.index = ost->store.get();
    open.pool = &pool_;
    open.lock_directory = false;
    open.machine_boot_id = "sim" + std::to_string(machine_boot_);
    auto target = co_await ost::Target::Open(ost->io.get(), std::move(open));
    EXPECT_TRUE(target) << (target ? "" : target.error().ToString());
    if (target) ost->target = std::move(*target);
  }
}

namespace {

async::Task<void> LoadSessions(oss::OssService* service, rpc::SessionTable* table) {
  auto sessions = co_await service->LoadSessions();
  EXPECT_TRUE(sessions) << (sessions ? "" : sessions.error().ToString());
  if (sessions) table->Load(std::move(*sessions));
}

}  // namespace

void SimCluster::StartOss() {
  Run(OpenTargets());
  oss_ = std::make_unique<Oss>();
  for (auto& ost : osts_) {
    Oss::Server& oss = oss_->servers.emplace_back();
    const std::string node = "oss" + std::to_string(ost->index);
    oss.service = std::make_unique<oss::OssService>(oss::OssOptions{.faults = faults(node)});
    oss.service->AddTarget(ost->index, ost->target.get());
    oss.service->RegisterShard(&shard_, ost->io.get());
    v1::RegisterServerRequest request;
    request.set_fsname(kFsname);
    request.mutable_server()->set_name(node);
    request.mutable_server()->add_hosts(node);
    request.mutable_server()->set_data_port(7990);
    request.mutable_server()->set_control_port(7991);
    v1::TargetEntry* entry = request.add_targets();
    const ost::Superblock& superblock = ost->target->superblock();
    entry->set_name(ost->target->name());
    entry->set_index(ost->index);
    entry->set_uuid(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
    entry->set_generation(superblock.generation);
    auto registered = mds_->service->RegisterServer(request);
    ASSERT_TRUE(registered) << registered.error().ToString();
    rpc::ServerIdentity identity;
    identity.fsname = kFsname;
    identity.server_name = registered->server_name();
    identity.boot = oss.service->Boot();
    identity.recovered_transno = oss.service->RecoveredTransno();
    identity.features = oss::OssService::kFeatures;
    oss.sessions = std::make_unique<rpc::SessionTable>(identity, oss.service.get());
    Run(LoadSessions(oss.service.get(), oss.sessions.get()));
    oss.server = std::make_unique<rpc::Server>(&shard_, oss.sessions.get(), oss.service.get(),
                                               rpc::ServerOptions{.faults = faults(node)});
    oss.transport = std::make_unique<rpc::SimTransport>(&network_, node);
    oss.listener = ListenOn(oss.transport.get(), 7990, oss.server.get());
    oss.service->StartBackground(&shard_);
  }
}

void SimCluster::StopOss() {
  for (size_t i = 0; i < oss_->servers.size(); ++i) {
    Oss::Server& oss = oss_->servers[i];
    oss.listener.reset();
    oss.service->BeginStop();
    Run(StopService(oss.server.get(), oss.service->Stop()));
    network_.Kill("oss" + std::to_string(i));
  }
  oss_.reset();
  for (auto& ost : osts_) {
    Run([](Ost* o) -> async::Task<void> {
      const Status closed = co_await o->target->Close(o->io.get());
      EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
    }(ost.get()));
    ost->target.reset();
  }
}

async::Task<void> SimCluster::Heartbeats() {
  while (!stopping_) {
    if (oss_ != nullptr && mds_ != nullptr && !mds_dead_ && !oss_dead_) {
      for (auto& oss : oss_->servers) {
        std::vector<v1::TargetSpace> spaces = co_await oss.service->TargetSpaces();
        v1::HeartbeatRequest beat;
        beat.set_fsname(kFsname);
        beat.set_server_name(oss.sessions->identity().server_name);
        for (const auto& space : spaces) *beat.add_targets() = space;
        EXPECT_TRUE(mds_->service->Heartbeat(beat).has_value());
      }
    }
    co_await shard_.Sleep(std::chrono::milliseconds(500));
  }
}

mds::MdsService* SimCluster::mds() { return mds_->service.get(); }

void SimCluster::PowerCutMds(Random* random) {
  network_.Kill("mds0");
  mds_dead_ = true;
  mds_disk_.PowerOff(random->Below(mds_disk_.unsynced_batches() + 1));
  StopMds();
  mds_disk_.PowerOn();
  mds_dead_ = false;
  ++mds_machine_boot_;
  StartMds();
}

void SimCluster::StopDeadOss() {
  for (size_t i = 0; i < oss_->servers.size(); ++i) {
    Oss::Server& oss = oss_->servers[i];
    oss.listener.reset();
    oss.service->BeginStop();
    // Commits fail: there is nothing to commit to.
    Run([](rpc::Server* server, oss::OssService* service) -> async::Task<void> {
      co_await server->Stop();
      const Status stopped = co_await service->Stop();
      static_cast<void>(stopped);
    }(oss.server.get(), oss.service.get()));
  }
  oss_.reset();
  for (auto& ost : osts_) {
    Run([](Ost* o) -> async::Task<void> {
      const Status closed = co_await o->target->Close(o->io.get());
      static_cast<void>(closed);
    }(ost.get()));
    ost->target.reset();
  }
}

void SimCluster::PowerCutOss(Random* random) {
  for (auto& ost : osts_) network_.Kill("oss" + std::to_string(ost->index));
  for (auto& ost : osts_) {
    ost->files.PowerOff(random);
    ost->disk.PowerOff(random->Below(ost->disk.unsynced_batches() + 1));
  }
  StopDeadOss();
  ++machine_boot_;
  for (auto& ost : osts_) {
    ost->files.PowerOn();
    ost->disk.PowerOn();
  }
  StartOss();
}

rpc::FaultPoints* SimCluster::faults(const std::string& node) {
  std::unique_ptr<rpc::FaultPoints>& points = faults_[node];
  if (points) return points.get();
  const auto kind = node == "mds0"             ? rpc::FaultNode::kMds
                    : node.starts_with("oss") ? rpc::FaultNode::kOss
                                              : rpc::FaultNode::kClient;
  points = std::make_unique<rpc::FaultPoints>(kind);
  points->OnKill([this, kind] {
    if (kind == rpc::FaultNode::kMds) DieMds();
    if (kind == rpc::FaultNode::kOss) DieOss();
  });
  return points.get();
}

// From now on nothing of it reaches the network or its disk.
void SimCluster::DieMds() {
  network_.Kill("mds0");
  mds_->fuse->Blow();
  mds_dead_ = true;
}

void SimCluster::DieOss() {
  for (auto& ost : osts_) {
    network_.Kill("oss" + std::to_string(ost->index));
    ost->fuse->Blow();
  }
  oss_dead_ = true;
}

bool SimCluster::Revive() {
  const bool any = mds_dead_ || oss_dead_;
  if (mds_dead_) {
    mds_->listener.reset();
    Run([](Mds* mds) -> async::Task<void> {
      co_await mds->server->Stop();
      const Status stopped = co_await mds->service->Stop();
      static_cast<void>(stopped);  // there is nothing to commit to
    }(mds_.get()));
    mds_.reset();
    mds_dead_ = false;
    StartMds();
  }
  if (oss_dead_) {
    StopDeadOss();
    oss_dead_ = false;
    StartOss();
  }
  return any;
}

void SimCluster::KillMds() {
  DieMds();
  Revive();
}

void SimCluster::KillOss() {
  DieOss();
  Revive();
}

void SimCluster::RestartMds() {
  StopMds();
  StartMds();
}

void SimCluster::RestartOss() {
  StopOss();
  StartOss();
}

void SimCluster::Evict(client::Filesystem* client) {
  const auto session = mds_->sessions->FindClient(client->identity().uuid());
  ASSERT_NE(session, nullptr);
  Run([](mds::MdsService* service, uint64_t id) -> async::Task<void> {
    const Status evicted = co_await service->EvictSession(id, "a test");
    EXPECT_TRUE(evicted) << (evicted ? "" : evicted.error().ToString());
  }(mds_->service.get(), session->id()));
}

}  // namespace sheen::test
