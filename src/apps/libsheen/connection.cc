#include "apps/libsheen/connection.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "apps/common/mount_spec.h"
#include "base/log.h"
#include "rpc/credential.h"

namespace sheen::lib {
namespace {

constexpr uint32_t kThreadsMax = 64;
constexpr uint32_t kPoolThreads = 1;  // host names are looked up there
constexpr Nanos kConnectPatience = std::chrono::seconds(15);

async::Task<Status> Unmount(client::Filesystem* fs) {
  co_await fs->Unmount();
  co_return Status{};
}

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
  if (connected_) {
    client::Filesystem* const fs = fs_.get();
    (void)shards_->Await<Status>(0, [fs] { return Unmount(fs); });
  }
  if (shards_ != nullptr) shards_->Stop();
}

void Connection::Start(uint32_t shard, std::function<async::Task<void>()> make) {
  async::Shard* const on = shards_->At(shard)->shard.get();
  on->Post([on, make = std::move(make)] { on->Spawn(make()); });
}

struct stat StatOf(const client::Attr& attr) {
  constexpr int64_t kSecond = 1'000'000'000;
  const auto to_timespec = [](int64_t ns) {
    int64_t seconds = ns / kSecond;
    if (ns % kSecond < 0) --seconds;
    return timespec{seconds, ns - seconds * kSecond};
  };
  struct stat out {};
  out.st_ino = attr.fid.ToInode();
  out.st_mode = attr.mode;
  out.st_nlink = attr.nlink;
  out.st_uid = attr.uid;
  out.st_gid = attr.gid;
  out.st_rdev = attr.rdev;
  out.st_size = static_cast<off_t>(attr.size);
  out.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  out.st_blksize = S_ISREG(attr.mode) ? 1 << 20 : 4096;
  out.st_atim = to_timespec(attr.atime_ns);
  out.st_mtim = to_timespec(attr.mtime_ns);
  out.st_ctim = to_timespec(attr.ctime_ns);
  return out;
}

}  // namespace sheen::lib
