#include "apps/libsheen/connection.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "apps/common/mount_spec.h"
#include "base/log.h"
#include "rpc/credential.h"

namespace sheen::lib {
namespace {

constexpr uint32_t kThreadsMax = 64;
constexpr uint32_t kPoolThreads = 1;  // host names are looked up there
constexpr Nanos kConnectPatience = std::chrono::seconds(15);

std::vector<uint32_t> Groups() {
  std::vector<gid_t> groups(65536);
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return {groups.begin(), groups.end()};
}

std::string JobOf(const ConnectOptions& options) {
  const char* const variable = ::getenv("SLURM_JOB_ID");
  std::string job = options.job_id.empty() && variable != nullptr ? variable : options.job_id;
  return job.substr(0, rpc::kJobIdBytesMax);
}

std::string NameOf(const ConnectOptions& options) {
  if (!options.name.empty()) return options.name;
  char host[256] = {};
  const bool named = ::gethostname(host, sizeof host - 1) == 0;
  return fmt::format("{}:libsheen-{}", named ? host : "localhost", ::getpid());
}

// What the client has to say goes where a library's complaints go, and no more than those.
void PrepareLog() {
  static const bool once = [] {
    LogToStderr("libsheen");
    SetLogLevel(LogLevel::Warn);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::Open(const std::string& source,
                                                     const ConnectOptions& options) {
  PrepareLog();
  SHEEN_TRY_ASSIGN(const apps::MountSpec spec, apps::ParseMountSpec(source));
  if (options.threads == 0 || options.threads > kThreadsMax) {
    return Fail(Errc::kInvalid, fmt::format("{} threads: it must be 1 to {}", options.threads,
                                            kThreadsMax));
  }
  std::unique_ptr<Connection> connection(new Connection());
  apps::ShardSetOptions shards;
  shards.count = options.threads;
  shards.pin = false;  // the program's own threads have the cores
  shards.pool_threads = kPoolThreads;
  shards.tcp.checksums = options.checksums;
  SHEEN_TRY_ASSIGN(connection->shards_, apps::ShardSet::Start(shards));
  client::Options client;
  client.fsname = spec.fsname;
  for (const std::string& host : spec.hosts) client.mgs.push_back({host, options.port});
  client.subdir = spec.subdir;
  client.checksums = options.checksums;
  client.client_name = NameOf(options);
  client.write_behind = options.write_behind;
  client.mount_timeout = kConnectPatience;
  if (options.timeout_s > 0) client.deadline = std::chrono::seconds(options.timeout_s);
  if (options.end_patience_s > 0) {
    connection->end_patience_ = std::chrono::seconds(options.end_patience_s);
  }
  connection->fs_ = std::make_unique<client::Filesystem>(client);
  for (uint32_t i = 0; i < connection->shards_->size(); ++i) {
    apps::ShardSet::Member* const member = connection->shards_->At(i);
    connection->fs_->AddShard(member->shard.get(), member->transport.get());
  }
  connection->connected_ = true;
  client::Filesystem* const fs = connection->fs_.get();
  SHEEN_TRY(connection->shards_->Await<Status>(0, [fs] { return fs->Mount(); }));
  connection->superuser_ = ::geteuid() == 0;
  connection->umask_ = options.umask & 0777;
  connection->who_ = fs->CredentialFor(::geteuid(), ::getegid(), Groups(), JobOf(options));
  return connection;
}

Connection::~Connection() {
  const Status closed = Close();
  if (!closed) SHEEN_LOG(Error, "{}", closed.error().ToString());
}

Status Connection::Close() {
  for (uint64_t left = started_.load(); left != 0; left = started_.load()) started_.wait(left);
  Status unmounted;
  if (std::exchange(connected_, false)) {
    client::Filesystem* const fs = fs_.get();
    const Nanos patience = end_patience_;
    unmounted = shards_->Await<Status>(0, [fs, patience] { return fs->Unmount(patience); });
  }
  if (shards_ != nullptr) shards_->Stop();
  return unmounted;
}

void Connection::Start(uint32_t shard, std::function<async::Task<void>()> make) {
  async::Shard* const on = shards_->At(shard)->shard.get();
  started_.fetch_add(1);
  on->Post([this, on, make = std::move(make)] { on->Spawn(RunStarted(make)); });
}

async::Task<void> Connection::RunStarted(std::function<async::Task<void>()> make) {
  co_await make();
  // The destructor joins this thread before it takes the count away.
  if (started_.fetch_sub(1) == 1) started_.notify_all();
}

}  // namespace sheen::lib
