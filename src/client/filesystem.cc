#include "client/filesystem.h"

#include <sys/stat.h>

#include <algorithm>
#include <sstream>

#include "base/log.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kUnmountWait = std::chrono::seconds(10);
constexpr Nanos kUnmountLook = std::chrono::milliseconds(10);
constexpr Nanos kGoodbyeTimeout = std::chrono::seconds(3);
constexpr Nanos kPollStep = std::chrono::milliseconds(2);

std::string AddressList(const std::vector<rpc::Address>& addresses) {
  std::string text;
  for (const rpc::Address& address : addresses) {
    if (!text.empty()) text += ", ";
    text += address.ToString();
  }
  return text;
}

std::string AdviceFor(Errc code, const std::string& fsname) {
  switch (code) {
    case Errc::kConnectionRefused:
      return "no server listens there; is sheen-mds running, and is the port right?";
    case Errc::kTimedOut:
      return "no answer in time; is the host up and the port open in its firewall?";
    case Errc::kNoEntry:
      return "no such host; check the name in the mount source";
    case Errc::kWrongFilesystem:
      return "that server does not have filesystem '" + fsname + "'; check the name after ':/'";
    case Errc::kBadVersion:
      return "client and server speak different protocol versions; update the older one";
    case Errc::kNotThisServer:
      return "that is the port of another server: give sheen-mds's data port, 7988 by default, "
             "with -o port=";
    case Errc::kDisconnected:
    case Errc::kProtocol:
      return "either that is no data port of sheen-mds (7988 by default; a control port is none), "
             "or that server does not let this host in, or knows no such protocol version: see its "
             "--allow and its log";
    default:
      return "";
  }
}

Error MountError(const Options& options, const Error& error) {
  std::string message = "cannot mount " + options.fsname + " from " + AddressList(options.mgs);
  if (!error.message().empty()) message += ": " + error.message();
  const std::string advice = AdviceFor(error.code(), options.fsname);
  if (!advice.empty()) message += " (" + advice + ")";
  return Error(error.code(), std::move(message));
}

async::Task<Status> ResolveRoot(Filesystem* fs, State* state) {
  std::istringstream parts(state->options.subdir);
  std::string name;
  Fid root = kRootFid;
  while (std::getline(parts, name, '/')) {
    if (name.empty() || name == ".") continue;
    Result<Attr> found = co_await fs->Lookup(0, root, name);
    if (!found) {
      co_return Fail(found.error().code(), "subdirectory '" + state->options.subdir + "' of " +
                                               state->options.fsname + " cannot be mounted");
    }
    if (!S_ISDIR(found->mode)) {
      co_return Fail(Errc::kNotDirectory,
                     "'" + state->options.subdir + "' of " + state->options.fsname +
                         " is not a directory");
    }
    root = found->fid;
  }
  state->root = root;
  co_return Status();
}

async::Task<void> StopShard(ShardContext* context, std::set<std::string> farewells,
                            std::atomic<uint32_t>* left) {
  co_await context->Stop(std::move(farewells), kGoodbyeTimeout);
  left->fetch_sub(1);
}

// Waits on the calling shard for a count that other shards change.
template <class T>
async::Task<bool> AwaitZero(async::Shard* shard, std::atomic<T>* count, Nanos timeout) {
  const Nanos until = timeout == Nanos::max() ? timeout : shard->Now() + timeout;
  while (count->load() != 0) {
    if (shard->Now() >= until) co_return false;
    co_await shard->Sleep(kPollStep);
  }
  co_return true;
}

// Nobody is left who could want the locks.
void EndLockWaits(State* state) {
  for (const std::unique_ptr<ShardContext>& owned : state->contexts) {
    ShardContext* const context = owned.get();
    if (context == nullptr) continue;
    context->shard()->Post([context] {
      context->file_locks()->GiveUpAll(Error(Errc::kCancelled, "the filesystem is unmounted"));
    });
  }
}

// Asks each shard for its servers: the last one that has a server says goodbye to it.
async::Task<void> StopAll(State* state, async::Shard* here) {
  std::array<std::set<std::string>, kShardsMax> names;
  std::atomic<uint32_t> left{0};
  for (size_t i = 0; i < kShardsMax; ++i) {
    ShardContext* context = state->contexts[i].get();
    if (!context) continue;
    ++left;
    std::set<std::string>* out = &names[i];
    context->shard()->Post([context, out, &left] {
      *out = context->ServerNames();
      left.fetch_sub(1);
    });
  }
  co_await AwaitZero(here, &left, Nanos::max());
  for (size_t i = 0; i < kShardsMax; ++i) {
    ShardContext* context = state->contexts[i].get();
    if (!context) continue;
    std::set<std::string> farewells = names[i];
    for (size_t later = i + 1; later < kShardsMax; ++later) {
      for (const std::string& server : names[later]) farewells.erase(server);
    }
    left = 1;
    context->shard()->Post([context, farewells, &left] {
      context->shard()->Spawn(StopShard(context, farewells, &left));
    });
    co_await AwaitZero(here, &left, Nanos::max());
  }
}

// For as long as there is patience, and a request may take; when an OSS has used that up, too.
Nanos AskUntil(const State& state, Nanos until) {
  const Nanos now = async::Shard::Current()->Now();
  const Nanos wait = state.options.deadline;
  if (wait != Nanos::max()) until = std::min(until, now + wait);
  return std::max(until, now + kGoodbyeTimeout);
}

// Nobody is there to repeat them if the MDS's machine loses its power after this.
async::Task<void> CommitChanges(State* state, Nanos until) {
  ShardContext* const here = state->Here();
  async::Shard* const shard = here->shard();
  Status committed = co_await here->CommitMds(std::min(shard->Now() + kUnmountWait, until));
  // A restarted server that is being told what it lost is asked for as long as that takes, by
  // however many connections, or as there is patience.
  while (!committed && state->replay_unfinished && shard->Now() < until) {
    co_await shard->Sleep(kUnmountLook);
    committed = co_await here->CommitMds(std::min(shard->Now() + kUnmountWait, until));
  }
  if (committed) co_return;
  SHEEN_LOG(Warn,
            "unmount: mds0 has not said that the last {} changes are on its disk: {}; they are "
            "lost if its machine loses power before they are",
            state->kept_requests.size(), committed.error().ToString());
  state->gave_up = true;
}

// Of a mount that keeps nothing for a server that loses it.
async::Task<void> CommitOsts(State* state) {
  ShardContext* const here = state->Here();
  const std::shared_ptr<const Cluster> cluster = state->cluster.Get();
  for (const auto& [ost, server] : cluster->ost_servers) {
    rpc::Call call = MakeCall(rpc::Opcode::kOstSync, 0, v1::OstSyncRequest());
    call.deadline = here->shard()->Now() + kUnmountWait;
    const auto answer = co_await here->Ost(ost, std::move(call));
    if (!answer) state->gave_up = true;
  }
}

// What the application was told to be written, and is on no disk as far as is known here.
bool HasUnwritten(State* state) {
  return state->held_budget.bytes.load() > 0 || !state->kept_writes.empty();
}

void LogUnwritten(State* state, bool waits_on) {
  const uint64_t held = state->held_budget.bytes.load();
  const std::string_view end = waits_on ? "waiting for its server" : "given up";
  if (held > 0) {
    SHEEN_LOG(Warn, "unmount: {} bytes wait for a server that does not answer: {}", held, end);
  }
  const std::string kept = KeptFilesText(state->kept_writes, std::nullopt);
  if (kept.empty()) return;
  SHEEN_LOG(Warn, "unmount: {}: {}{} lost if that server's machine lost its power", kept, end,
            waits_on ? ". Who ends this process (kill -9) gives them up: they are"
                     : "; they are");
}

// False: the time was over first.
async::Task<bool> AwaitWritten(State* state, async::Shard* here, Nanos until) {
  const auto step = [here, until] {
    return until == Nanos::max() ? kUnmountWait : std::min(kUnmountWait, until - here->Now());
  };
  bool quiet = co_await AwaitZero(here, &state->background, step());
  while (!quiet && HasUnwritten(state)) {
    const bool waits_on = here->Now() < until;
    LogUnwritten(state, waits_on);
    if (!waits_on) {
      state->gave_up = true;
      co_return false;
    }
    quiet = co_await AwaitZero(here, &state->background, step());
  }
  co_return quiet;
}

// This mount is not changing the file's size and times.
bool Settled(State* state, const Fid& fid) {
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  return !file || file->quiet();
}

}  // namespace

ShardContext* State::Here() const {
  const async::Shard* shard = async::Shard::Current();
  SHEEN_ASSERT(shard != nullptr && shard->index() < kShardsMax);
  ShardContext* context = contexts[shard->index()].get();
  SHEEN_ASSERT(context != nullptr && context->shard() == shard);
  return context;
}

uint64_t State::SessionStamp() const {
  const rpc::ServerSession session = identity.Session(kMdsName);
  if (session.session_id == 0) return 0;
  // Odd multiplier: distinct pairs of small numbers give distinct stamps, never 0 in practice.
  return session.session_id * 0x9E3779B97F4A7C15ULL + session.server_boot + 1;
}

Filesystem::Filesystem(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Filesystem::~Filesystem() = default;

void Filesystem::AddShard(async::Shard* shard, rpc::Transport* transport) {
  SHEEN_ASSERT(shard->index() < kShardsMax && !state_->contexts[shard->index()]);
  state_->pulses[shard->index()] = std::make_shared<rpc::LinkPulse>();
  state_->locks.SetPulse(shard->index(), state_->pulses[shard->index()]);
  state_->contexts[shard->index()] =
      std::make_unique<ShardContext>(state_.get(), shard, transport, shard->index());
}

async::Task<Status> Filesystem::Mount() {
  State* state = state_.get();
  if (state->options.mgs.empty()) co_return Fail(Errc::kInvalid, "no server given to mount from");
  ShardContext* context = state->Here();
  const Nanos deadline = context->shard()->Now() + state->options.mount_timeout;
  const Status connected = co_await context->ConnectMds(deadline);
  if (!connected) co_return std::unexpected(MountError(state->options, connected.error()));
  {
    const std::scoped_lock lock(state->recovery_mutex);
    state->recovered_stamp = state->SessionStamp();
    state->replayed_stamp = state->recovered_stamp;
    state->recovered_session = state->identity.Session(kMdsName).session_id;
  }
  const Status mapped = co_await context->RefreshMap(deadline);
  if (!mapped) co_return std::unexpected(MountError(state->options, mapped.error()));
  co_return co_await ResolveRoot(this, state);
}

async::Task<Status> Filesystem::Unmount(Nanos patience) {
  State* state = state_.get();
  async::Shard* here = async::Shard::Current();
  EndLockWaits(state);
  state->unmounting = true;
  const Nanos until = patience == Nanos::max() ? patience : here->Now() + patience;
  if (!co_await AwaitWritten(state, here, until)) {
    SHEEN_LOG(Warn,
              "unmount: {} requests still wait for a server that does not answer; what they "
              "report (sizes of closed files) the servers will find out themselves",
              state->background.load());
  }
  const bool keeps = state->options.recovery;
  if (!keeps || state->kept_requests.size() > 0) {
    co_await CommitChanges(state, AskUntil(*state, until));
  }
  if (!keeps) co_await CommitOsts(state);
  state->stopping = true;
  co_await StopAll(state, here);
  co_await AwaitZero(here, &state->background, Nanos::max());
  if (!state->gave_up) co_return Status();
  co_return Fail(Errc::kIo,
                 "not all that was written is known to be on a server's disk; the log says what");
}

const Options& Filesystem::options() const { return state_->options; }

bool Filesystem::block_sums() const { return state_->block_sums.load(); }

void Filesystem::SetBlockSums(bool on) { state_->block_sums.store(on); }
Fid Filesystem::root() const { return state_->root; }
const rpc::ClientIdentity& Filesystem::identity() const { return state_->identity; }
uint64_t Filesystem::map_version() const { return state_->cluster.version(); }

CredentialId Filesystem::CredentialFor(uint32_t uid, uint32_t gid,
                                       std::vector<uint32_t> groups, std::string job_id) {
  if (uid == 0 && gid == 0 && job_id.empty()) return 0;
  return state_->credentials.IdFor({uid, gid, std::move(groups), std::move(job_id)});
}

KernelCache* Filesystem::kernel() { return &state_->kernel; }

KernelPromise Filesystem::PromiseEntry(const Fid& directory, const std::string& name,
                                       const Attr& attr) {
  const Nanos now = state_->Here()->shard()->Now();
  return state_->kernel.PromiseEntry(directory, name, attr, Settled(state_.get(), attr.fid), now);
}

Nanos Filesystem::PromiseAttr(const Attr& attr) {
  const Nanos now = state_->Here()->shard()->Now();
  return state_->kernel.PromiseAttr(attr, Settled(state_.get(), attr.fid), now);
}

bool Filesystem::KeepPages(const Attr& opened) {
  const bool settled = !opened.size_unsafe && Settled(state_.get(), opened.fid);
  return state_->kernel.KeepPages(opened, settled);
}

KernelListing Filesystem::OpenListing(const Attr& opened) {
  const std::shared_ptr<OpenFile> file = state_->files.Find(opened.fid);
  return state_->kernel.OpenListing(opened, file && file->handles().size() == 1);
}

void Filesystem::ChangedHere(const Fid& fid) {
  state_->kernel.ChangedHere(fid, state_->Here()->shard()->Now());
}

std::optional<Attr> Filesystem::KnownAttr(const Fid& fid) const {
  const Nanos now = state_->Here()->shard()->Now();
  const std::optional<Attr> locked = state_->locks.FindAttr(fid, now);
  return locked ? AttrNow(state_.get(), *locked) : std::nullopt;
}

bool Filesystem::IsOpen(Fid fid) const { return state_->files.Find(fid) != nullptr; }

}  // namespace sheen::client
