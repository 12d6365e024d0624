#include "support/sim_cluster.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "mdt/mdt.h"
#include "mdt/schema.h"
#include "support/sim_cluster_parts.h"

namespace sheen::test {
namespace {

constexpr Nanos kPatience = std::chrono::hours(1);
constexpr const char* kFsname = "sim";
constexpr uint64_t kTurnsACheck = 10;

async::Task<void> Then(async::Task<void> task, std::shared_ptr<bool> done) {
  co_await std::move(task);
  *done = true;
}

async::Task<void> Mount(client::Filesystem* fs, bool* mounted) {
  const Status status = co_await fs->Mount();
  EXPECT_TRUE(status) << (status ? "" : status.error().ToString());
  *mounted = status.has_value();
}

async::Task<void> UnmountTask(client::Filesystem* fs, Nanos patience, Status* out) {
  const Status unmounted = co_await fs->Unmount(patience);
  if (out != nullptr) *out = unmounted;
}

async::Task<void> LoadSessions(oss::OssService* service, rpc::SessionTable* table) {
  auto sessions = co_await service->LoadSessions();
  EXPECT_TRUE(sessions) << (sessions ? "" : sessions.error().ToString());
  if (sessions) table->Load(std::move(*sessions));
}

std::unique_ptr<rpc::Listener> ListenOn(rpc::SimTransport* transport, uint16_t port,
                                        rpc::Server* server) {
  auto listener = transport->Listen(
      {"", port}, [server](std::unique_ptr<rpc::Link> link) { server->Accept(std::move(link)); });
  EXPECT_TRUE(listener.has_value());
  return listener ? std::move(*listener) : nullptr;
}

}  // namespace

async::Task<void> StopService(rpc::Server* server, async::Task<Status> stop) {
  co_await server->Stop();
  const Status stopped = co_await std::move(stop);
  EXPECT_TRUE(stopped) << (stopped ? "" : stopped.error().ToString());
}

uint64_t TestSeed() {
  static std::optional<uint64_t> seed;
  // Another test, or the same once more, has one of its own.
  struct Forget final : ::testing::EmptyTestEventListener {
    void OnTestStart(const ::testing::TestInfo& /*test*/) override { seed.reset(); }
  };
  static const bool listens = [] {
    ::testing::UnitTest::GetInstance()->listeners().Append(new Forget);
    return true;
  }();
  if (seed && listens) return *seed;
  const char* given = std::getenv("SHEEN_SEED");
  seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64() >> 16;
  std::printf("SHEEN_SEED=%llu\n", static_cast<unsigned long long>(*seed));
  return *seed;
}

void SimCluster::AwaitControlCalls() {
  EXPECT_TRUE(async::RunUntil(&shard_, [this] { return control_calls_ == 0; }, kPatience));
}

// The control plane without gRPC: calls the OSS's service of that name.
struct SimCluster::Control final : rpc::ObjectControl {
  // Its service lives until it has ended.
  struct Counted {
    explicit Counted(SimCluster* c) : cluster(c) { ++cluster->control_calls_; }
    ~Counted() { --cluster->control_calls_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    SimCluster* const cluster;
  };
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
    const Counted counted(cluster);
    Status status = co_await service->DestroyObjects(std::move(request));
    co_return status;
  }
  async::Task<Status> SetObjectOwner(std::string server,
                                     v1::SetObjectOwnerRequest request) override {
    rpc::ObjectControlService* service = Find(server);
    if (service == nullptr) co_return Fail(Errc::kUnavailable, server + " is down");
    const Counted counted(cluster);
    Status status = co_await service->SetObjectOwner(std::move(request));
    co_return status;
  }
  async::Task<Status> FenceSession(std::string server, v1::FenceSessionRequest request) override {
    rpc::ObjectControlService* service = Find(server);
    if (service == nullptr) co_return Fail(Errc::kUnavailable, server + " is down");
    const Counted counted(cluster);
    Status status = co_await service->FenceSession(std::move(request));
    co_return status;
  }
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      std::string server, v1::RestoreObjectRequest request) override {
    const Counted counted(cluster);
    if (auto* const oss = Find(server)) co_return co_await oss->RestoreObject(std::move(request));
    co_return Fail(Errc::kUnavailable, server + " is down");
  }
  SimCluster* cluster;
};

SimCluster::SimCluster(SimOptions options)
    : options_(options),
      randomness_(options.seed),
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
  for (uint32_t i = 1; options.one_oss && i < options.ost_count; ++i) {
    osts_[i]->path += std::to_string(i);
    osts_[0]->files.MakeDurableDirectory(osts_[i]->path);
  }
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
  for (auto& client : clients_) Run(UnmountTask(client->filesystem.get(), Nanos::max(), nullptr));
  stopping_ = true;
  StopOss();
  StopMds();
  if (agents_ != nullptr) Run(agents_->Stop());
  async::RunFor(&shard_, std::chrono::seconds(5));
  clients_.clear();
  if (std::getenv("SHEEN_DIGEST") == nullptr) return;
  std::printf("DIGEST %016llx frames %llu at %lld ns\n",
              static_cast<unsigned long long>(network_.digest()),
              static_cast<unsigned long long>(network_.frames_delivered()),
              static_cast<long long>(shard_.Now().count()));
}

std::shared_ptr<bool> SimCluster::Begin(async::Task<void> task) {
  const auto done = std::make_shared<bool>(false);
  const auto moved = std::make_shared<async::Task<void>>(std::move(task));
  // Within a turn: what the task starts looks for the current shard.
  shard_.Post([this, moved, done] { shard_.Spawn(Then(std::move(*moved), done)); });
  return done;
}

void SimCluster::Finish(std::shared_ptr<bool> done) {
  const auto is_done = [this, &done] {
    const bool checks = options_.checks_exclusive && ++turns_ % kTurnsACheck == 0;
    if (checks && !::testing::Test::HasFailure()) CheckExclusive();
    return *done;
  };
  ASSERT_TRUE(async::RunUntil(&shard_, is_done, kPatience)) << "something waits for ever";
}

void SimCluster::Run(async::Task<void> task) { Finish(Begin(std::move(task))); }

client::Filesystem* SimCluster::AddClient(const std::string& name, Nanos deadline) {
  client::Options options;
  options.deadline = deadline;
  return AddClient(name, std::move(options));
}

client::Filesystem* SimCluster::AddClient(const std::string& name, client::Options options) {
  auto node = std::make_unique<ClientNode>();
  node->transport = std::make_unique<rpc::SimTransport>(&network_, name);
  options.fsname = kFsname;
  options.mgs = {{"mds0", 7988}};
  options.faults = faults(name);
  node->filesystem = std::make_unique<client::Filesystem>(options);
  node->filesystem->AddShard(&shard_, node->transport.get());
  bool mounted = false;
  Run(Mount(node->filesystem.get(), &mounted));
  EXPECT_TRUE(mounted);
  clients_.push_back(std::move(node));
  return clients_.back()->filesystem.get();
}

Status SimCluster::RemoveClient(client::Filesystem* client, Nanos patience) {
  Status unmounted;
  Run(UnmountTask(client, patience, &unmounted));
  async::RunFor(&shard_, std::chrono::seconds(1));
  std::erase_if(clients_, [client](const auto& node) { return node->filesystem.get() == client; });
  return unmounted;
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
    ost->mortal_io = std::make_unique<MortalFileIo>(ost->real_io.get(), ost->fuse);
    ost->io = std::make_unique<TroubledFileIo>(ost->mortal_io.get(), ost->trouble);
    if (!ost->formatted) {
      ost::FormatOptions format;
      format.directory = ost->path;
      format.fsname = kFsname;
      format.ost_index = ost->index;
      format.now_ns = clock_.Wall().count();
      format.size_limit_bytes = options_.ost_bytes;
      auto made = co_await ost::Format(IoOf(*ost), ost->store.get(), format);
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
    auto target = co_await ost::Target::Open(IoOf(*ost), std::move(open));
    EXPECT_TRUE(target) << (target ? "" : target.error().ToString());
    if (target) ost->target = std::move(*target);
  }
}

io::FileIo* SimCluster::IoOf(const Ost& ost) const {
  return options_.one_oss ? osts_[0]->io.get() : ost.io.get();
}

void SimCluster::StartOss() {
  Run(OpenTargets());
  oss_ = std::make_unique<Oss>();
  if (options_.one_oss) {
    StartServer(0, osts_.size());
    return;
  }
  for (size_t i = 0; i < osts_.size(); ++i) StartServer(i, i + 1);
}

void SimCluster::StartServer(size_t first, size_t end) {
  Oss::Server& oss = oss_->servers.emplace_back();
  const std::string node = "oss" + std::to_string(first);
  oss.service = std::make_unique<oss::OssService>(oss::OssOptions{.faults = faults(node)});
  oss.service->RegisterShard(&shard_, IoOf(*osts_[first]));
  v1::RegisterServerRequest request;
  request.set_fsname(kFsname);
  request.mutable_server()->set_name(node);
  request.mutable_server()->add_hosts(node);
  request.mutable_server()->set_data_port(7990);
  request.mutable_server()->set_control_port(7991);
  for (size_t i = first; i < end; ++i) {
    const Ost& ost = *osts_[i];
    oss.service->AddTarget(ost.index, ost.target.get());
    v1::TargetEntry* entry = request.add_targets();
    const ost::Superblock& superblock = ost.target->superblock();
    entry->set_name(ost.target->name());
    entry->set_index(ost.index);
    entry->set_uuid(superblock.uuid.bytes.data(), superblock.uuid.bytes.size());
    entry->set_generation(superblock.generation);
  }
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
  if (agents_ != nullptr) agents_->Attach(node, oss.service.get());
  oss.service->StartBackground(&shard_);
}

void SimCluster::StopOss() {
  for (size_t i = 0; i < oss_->servers.size(); ++i) {
    Oss::Server& oss = oss_->servers[i];
    oss.listener.reset();
    oss.service->BeginStop();
    if (agents_ != nullptr) agents_->BeginStop("oss" + std::to_string(i));
    Run(StopService(oss.server.get(), oss.service->Stop()));
    if (agents_ != nullptr) Run(agents_->Detach("oss" + std::to_string(i)));
    network_.Kill("oss" + std::to_string(i));
  }
  AwaitControlCalls();
  oss_.reset();
  for (auto& ost : osts_) {
    Run([](Ost* o, io::FileIo* io) -> async::Task<void> {
      const Status closed = co_await o->target->Close(io);
      EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
    }(ost.get(), IoOf(*ost)));
    ost->target.reset();
  }
}

async::Task<void> SimCluster::Heartbeats() {
  while (!stopping_) {
    if (oss_ != nullptr && mds_ != nullptr && !mds_dead_ && !oss_dead_) {
      for (auto& oss : oss_->servers) {
        std::vector<v1::TargetSpace> spaces = co_await oss.service->TargetSpaces();
        if (oss_ == nullptr || mds_ == nullptr || mds_dead_ || oss_dead_) break;  // since
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
oss::OssService* SimCluster::oss(uint32_t ost) {
  return oss_->servers.at(options_.one_oss ? 0 : ost).service.get();
}

void SimCluster::SetAgents(std::unique_ptr<SimAgentsBase> agents) {
  agents_ = std::move(agents);
  for (size_t i = 0; i < oss_->servers.size(); ++i) {
    agents_->Attach("oss" + std::to_string(i), oss_->servers[i].service.get());
  }
}

}  // namespace sheen::test
