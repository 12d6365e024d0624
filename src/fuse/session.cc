#include "fuse/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "base/log.h"
#include "fuse/cpu_list.h"
#include "fuse/fuse_kernel.h"
#include "fuse/kicker.h"
#include "fuse/libfuse_session.h"
#include "fuse/mount.h"
#include "fuse/shard_channel.h"

namespace sheen::fuse {
namespace {

constexpr int kInitTimeoutMs = 10'000;
constexpr size_t kInitReadBytes = 256 * 1024;
constexpr size_t kPageBytes = 4096;
constexpr uint32_t kMaxWriteMin = 8192;
constexpr uint32_t kMaxWriteMax = 1u << 20;  // libfuse 3.14: FUSE_MAX_MAX_PAGES * page
// Queues of many cores hold fewer entries each: depth x cores x 1 MiB of address space, touched as
// it is used. 16 on up to 8 cores, 8 on 32 and more.
constexpr uint32_t kEntriesFewCores = 16;
constexpr uint32_t kEntriesManyCores = 8;
constexpr uint32_t kFewCores = 8;
constexpr uint32_t kManyCores = 32;

constexpr const char* kEnablePath = "/sys/module/fuse/parameters/enable_uring";
constexpr const char* kEnableAdvice =
    "switch it on with: echo Y > /sys/module/fuse/parameters/enable_uring (as root), and for every "
    "boot with the line \"options fuse enable_uring=Y\" in /etc/modprobe.d/sheen.conf";

uint32_t DefaultEntries(uint32_t cores) {
  if (cores <= kFewCores) return kEntriesFewCores;
  if (cores >= kManyCores) return kEntriesManyCores;
  return kEntriesFewCores -
         (cores - kFewCores) * (kEntriesFewCores - kEntriesManyCores) / (kManyCores - kFewCores);
}

std::string WhyNotOffered(uint32_t kernel_minor) {
  std::ifstream parameter(kEnablePath);
  char value = 0;
  if (parameter >> value) {
    if (value == 'N') return fmt::format("the kernel has it switched off; {}", kEnableAdvice);
    return fmt::format("{} is {} but the kernel did not offer it", kEnablePath, value);
  }
  return fmt::format(
      "this kernel (FUSE protocol 7.{}) does not have it; Linux 6.14 or later is needed",
      kernel_minor);
}

Result<std::vector<std::byte>> ReadInit(int device) {
  pollfd poll_device{.fd = device, .events = POLLIN, .revents = 0};
  const int ready = poll(&poll_device, 1, kInitTimeoutMs);
  if (ready < 0) return FailErrno(errno, "poll /dev/fuse");
  if (ready == 0) return Fail(Errc::kTimedOut, "the kernel sent no FUSE INIT within 10 s");
  std::vector<std::byte> message(kInitReadBytes);
  const ssize_t got = read(device, message.data(), message.size());
  if (got < 0) return FailErrno(errno, "read FUSE INIT");
  message.resize(static_cast<size_t>(got));
  return message;
}

Status CheckOptions(const MountOptions& options) {
  if (options.max_write < kMaxWriteMin || options.max_write > kMaxWriteMax ||
      options.max_write % kPageBytes != 0) {
    return Fail(Errc::kInvalid,
                fmt::format("max_write={}: must be 8192 to 1048576 and a multiple of 4096",
                            options.max_write));
  }
  if (options.shard_count == 0) return Fail(Errc::kInvalid, "a session needs at least one shard");
  return {};
}

Result<UniqueFd> Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (copy.get() < 0) return FailErrno(errno, "duplicate /dev/fuse descriptor");
  return copy;
}

}  // namespace

class Session::Impl final : public ChannelOwner {
 public:
  Impl(MountOptions options, const fuse_lowlevel_ops& ops, void* userdata)
      : options_(std::move(options)),
        ops_(ops),
        userdata_(userdata),
        kicker_(options_.mountpoint),
        channels_(options_.shard_count) {}
  ~Impl() {
    if (unmounter_.joinable()) unmounter_.join();
  }

  Status Mount();
  Status AttachShard(async::Shard* shard, io::UringPoller* poller);
  void Unmount();
  void Abort();
  // Unmounts when still mounted. False when a shard's ring still refers to this session.
  bool Close();

  void CallHelper() override;
  bool PassLead(int core) override;
  void OnConnectionGone() override;
  void OnDrained() override;
  void ForwardInterrupt(ByteSpan message) override;
  LateRequests* late() override { return &late_; }
  void OnLateChange(const Subject& subject) override;

  SessionStats stats() const;
  OpStats* operation_stats() { return &op_stats_; }

  const MountOptions options_;
  const fuse_lowlevel_ops ops_;
  void* const userdata_;
  std::function<void()> on_unmounted_;
  std::function<void(fuse_ino_t, const std::string&)> on_late_change_;
  std::function<bool(uint32_t pid, uint32_t uid, uint32_t gid)> admits_;
  std::string fallback_reason_;
  Transport transport_ = Transport::kClassic;
  uint64_t device_number_ = 0;
  uint32_t kernel_minor_ = 0;
  LibfuseSession primary_;  // answered INIT; sends notifications

 private:
  Status HandleInit();
  ChannelOptions OptionsOf(uint32_t shard_index);

  UniqueFd device_;
  Kicker kicker_;
  OpStats op_stats_;
  LateRequests late_;
  std::vector<std::byte> init_message_;
  size_t max_write_ = 0;
  uint32_t cores_ = 1;
  // One a shard, set by it; read by all.
  std::vector<std::atomic<ShardChannel*>> channels_;
  std::mutex mutex_;  // guards owned_, unmounter_
  std::vector<std::unique_ptr<ShardChannel>> owned_;
  std::thread unmounter_;
  std::atomic<bool> gone_{false};
  std::atomic<uint32_t> attached_{0};
  std::atomic<uint32_t> drained_{0};
};

Status Session::Impl::Mount() {
  SHEEN_TRY(CheckOptions(options_));
  SHEEN_TRY(LearnRequestLayout());
  SHEEN_TRY(DetachStaleMounts(options_.mountpoint));
  SHEEN_TRY_ASSIGN(cores_, PossibleCores());
  SHEEN_TRY_ASSIGN(device_, MountDevice(options_));
  if (Status answered = HandleInit(); !answered) {
    (void)DetachMount(options_.mountpoint);
    return answered;
  }
  auto number = DeviceOf(options_.mountpoint);
  if (number) device_number_ = *number;
  if (number && options_.read_ahead_kb) {
    const Status set = SetReadAhead(*number, *options_.read_ahead_kb);
    if (!set) SHEEN_LOG(Warn, "{}: {}", options_.mountpoint, set.error().ToString());
  }
  return {};
}

Status Session::Impl::HandleInit() {
  SHEEN_TRY_ASSIGN(init_message_, ReadInit(device_.get()));
  SHEEN_TRY_ASSIGN(UniqueFd own, Duplicate(device_.get()));
  SHEEN_TRY_ASSIGN(primary_, NewLibfuseSession(ops_, userdata_, std::move(own)));
  const InitWishes wishes{.over_io_uring = options_.io_uring != UringMode::kOff,
                          .handle_killpriv_v2 = options_.handle_killpriv_v2,
                          .max_write = options_.max_write,
                          .max_readahead = options_.max_readahead};
  SHEEN_TRY_ASSIGN(const InitOutcome outcome,
                   AnswerInit(primary_.get(), device_.get(), init_message_, wishes));
  max_write_ = outcome.max_write;
  kernel_minor_ = outcome.kernel_minor;
  if (options_.io_uring == UringMode::kOff) {
    fallback_reason_ = "io_uring=off";
  } else if (!outcome.offers_io_uring) {
    fallback_reason_ = WhyNotOffered(outcome.kernel_minor);
  } else {
    transport_ = Transport::kUring;
    return {};
  }
  if (options_.io_uring == UringMode::kOn) {
    return Fail(Errc::kNotSupported,
                fmt::format("{}: io_uring=on: {}", options_.mountpoint, fallback_reason_));
  }
  if (options_.io_uring == UringMode::kAuto) {
    SHEEN_LOG(Info,
              "{}: FUSE without io_uring, which costs a factor of 2 to 5 in small requests: "
              "{}",
              options_.mountpoint, fallback_reason_);
  }
  return {};
}

ChannelOptions Session::Impl::OptionsOf(uint32_t shard_index) {
  ChannelOptions out;
  out.ops = &ops_;
  out.userdata = userdata_;
  out.init_message = init_message_;
  out.max_write = max_write_;
  out.stats = &op_stats_;
  out.admits = admits_;
  out.leads = shard_index == 0;
  out.reads_device = transport_ == Transport::kClassic || shard_index == 0;
  if (transport_ == Transport::kClassic) return out;
  out.ring.payload_bytes = (max_write_ + kPageBytes - 1) / kPageBytes * kPageBytes;
  out.ring.base_entries =
      options_.entries_per_queue > 0 ? options_.entries_per_queue : DefaultEntries(cores_);
  for (uint32_t queue = shard_index; queue < cores_; queue += options_.shard_count) {
    out.ring.queues.push_back(static_cast<uint16_t>(queue));
  }
  return out;
}

Status Session::Impl::AttachShard(async::Shard* shard, io::UringPoller* poller) {
  const uint32_t index = shard->index();
  SHEEN_ASSERT(index < channels_.size());
  SHEEN_ASSERT(channels_[index].load() == nullptr);
  // Shard 0 has the mount's own queue of read requests, each other one of its own.
  const bool clone = transport_ == Transport::kClassic && index > 0;
  SHEEN_TRY_ASSIGN(UniqueFd own, clone ? CloneDevice(device_.get()) : Duplicate(device_.get()));
  auto channel = std::make_unique<ShardChannel>(OptionsOf(index), shard, poller, &kicker_, this);
  ShardChannel* const raw = channel.get();
  {
    std::lock_guard lock(mutex_);
    owned_.push_back(std::move(channel));
  }
  attached_.fetch_add(1);
  SHEEN_TRY(raw->Start(std::move(own)));
  channels_[index].store(raw);
  if (gone_.load()) raw->PostGone();
  return {};
}

void Session::Impl::CallHelper() {
  for (const auto& channel : channels_) {
    if (ShardChannel* c = channel.load(); c != nullptr && c->PostJoin()) return;
  }
}

bool Session::Impl::PassLead(int core) {
  // Under io_uring the device is shard 0's.
  if (transport_ == Transport::kUring) return false;
  for (const auto& channel : channels_) {
    ShardChannel* c = channel.load();
    if (c == nullptr || c->core() != core) continue;
    c->PostLead();
    return true;
  }
  return false;
}

void Session::Impl::OnConnectionGone() {
  if (gone_.exchange(true)) return;
  for (const auto& channel : channels_) {
    if (ShardChannel* c = channel.load(); c != nullptr) c->PostGone();
  }
}

void Session::Impl::OnDrained() {
  if (drained_.fetch_add(1) + 1 != options_.shard_count) return;
  if (on_unmounted_) on_unmounted_();
}

void Session::Impl::ForwardInterrupt(ByteSpan message) {
  for (const auto& channel : channels_) {
    ShardChannel* c = channel.load();
    if (c != nullptr) c->PostInterrupt({message.begin(), message.end()});
  }
}

void Session::Impl::OnLateChange(const Subject& subject) {
  for (size_t i = 0; on_late_change_ && i < subject.nodes.size(); ++i) {
    if (subject.nodes[i] != 0) on_late_change_(subject.nodes[i], subject.names[i]);
  }
}

void Session::Impl::Unmount() {
  std::lock_guard lock(mutex_);
  if (unmounter_.joinable() || gone_.load()) return;
  unmounter_ = std::thread([this] {
    const Status detached = DetachMount(options_.mountpoint);
    if (!detached && !gone_.load()) SHEEN_LOG(Error, "{}", detached.error().ToString());
  });
}

void Session::Impl::Abort() {
  std::thread([mountpoint = options_.mountpoint, device = device_number_] {
    const Status aborted = AbortMount(mountpoint, device);
    if (!aborted) SHEEN_LOG(Error, "{}", aborted.error().ToString());
  }).detach();
}

bool Session::Impl::Close() {
  if (!gone_.load()) {
    const auto number = DeviceOf(options_.mountpoint);
    if (number && *number == device_number_) (void)DetachMount(options_.mountpoint);
  }
  return drained_.load() == attached_.load();
}

SessionStats Session::Impl::stats() const {
  SessionStats out;
  for (const auto& channel : channels_) {
    const ShardChannel* c = channel.load();
    if (c == nullptr) continue;
    out.requests += c->requests();
    out.abandoned += c->abandoned();
    const RingCounters* ring = c->ring_counters();
    if (ring == nullptr) continue;
    out.ring_entries += ring->entries.load(std::memory_order_relaxed);
    out.ring_entries_grown += ring->grown.load(std::memory_order_relaxed);
    out.ring_kicks += ring->kicks.load(std::memory_order_relaxed);
  }
  return out;
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Session::~Session() {
  if (impl_->Close()) return;
  // A ring that was not drained may still complete into our entries. Rare: a daemon that gives up
  // while its mount is in use. It is about to end.
  SHEEN_LOG(Warn, "{}: the mount ends while its requests are with the kernel",
            impl_->options_.mountpoint);
  (void)impl_.release();
}

Result<std::unique_ptr<Session>> Session::Mount(const MountOptions& options,
                                                const fuse_lowlevel_ops& ops, void* userdata) {
  auto impl = std::make_unique<Impl>(options, ops, userdata);
  SHEEN_TRY(impl->Mount());
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

Status Session::AttachShard(async::Shard* shard, io::UringPoller* poller) {
  return impl_->AttachShard(shard, poller);
}
void Session::set_on_unmounted(std::function<void()> action) {
  impl_->on_unmounted_ = std::move(action);
}
void Session::set_admission(
    std::function<bool(uint32_t pid, uint32_t uid, uint32_t gid)> admits) {
  impl_->admits_ = std::move(admits);
}

void Session::set_on_late_change(std::function<void(fuse_ino_t, const std::string&)> action) {
  impl_->on_late_change_ = std::move(action);
}
void Session::Unmount() { impl_->Unmount(); }
void Session::Abort() { impl_->Abort(); }
Transport Session::transport() const { return impl_->transport_; }
std::string Session::TransportText() const {
  if (transport() == Transport::kClassic) return fmt::format("/dev/fuse ({})", fallback_reason());
  const bool asked = impl_->options_.io_uring == UringMode::kOn;
  return fmt::format("io_uring ({}the kernel, FUSE 7.{}, offers it)",
                     asked ? "io_uring=on, and " : "", kernel_minor());
}
const std::string& Session::fallback_reason() const { return impl_->fallback_reason_; }
fuse_session* Session::notify_session() const { return impl_->primary_.get(); }
uint32_t Session::kernel_minor() const { return impl_->kernel_minor_; }
uint64_t Session::device() const { return impl_->device_number_; }
SessionStats Session::stats() const { return impl_->stats(); }
OpStats* Session::operation_stats() const { return impl_->operation_stats(); }

Result<UringMode> ParseUringMode(std::string_view text) {
  if (text == "auto") return UringMode::kAuto;
  if (text == "on") return UringMode::kOn;
  if (text == "off") return UringMode::kOff;
  return Fail(Errc::kInvalid, fmt::format("io_uring={}: must be auto, on or off", text));
}

std::span<std::byte> ReplyBuffer(fuse_req_t request) {
  ShardChannel* channel = ShardChannel::Of(request);
  Request* found = channel->Find(UniqueOf(request));
  SHEEN_ASSERT(found != nullptr);
  return channel->ReplyBuffer(found);
}

void AddOpenFlags(fuse_req_t request, uint32_t flags) {
  Request* found = ShardChannel::Of(request)->Find(UniqueOf(request));
  SHEEN_ASSERT(found != nullptr);
  found->open_flags |= flags;
}

bool KillSuidgid(fuse_req_t request) {
  const Request* found = ShardChannel::Of(request)->Find(UniqueOf(request));
  SHEEN_ASSERT(found != nullptr);
  return AsksToKillSuidgid(found->opcode, {found->message, found->message_bytes});
}

bool CallerIsKilled(fuse_req_t request) {
  const Request* found = ShardChannel::Of(request)->Find(UniqueOf(request));
  return found != nullptr && found->killed;
}

}  // namespace sheen::fuse
