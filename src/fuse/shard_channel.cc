#include "fuse/shard_channel.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "fuse/cpu_list.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

// The interrupt of a request may be read before the request is: by another shard, from another
// queue of the kernel. The request is then in one of the next turns.
constexpr int kInterruptAttempts = 4;

// Channels of this thread: one for each session.
thread_local std::vector<std::pair<fuse_session*, ShardChannel*>> t_channels;

// Sets flags in the answer to OPEN or CREATE, in a copy: libfuse's is const for us.
class OpenAnswer final {
 public:
  OpenAnswer(uint32_t opcode, uint32_t flags, const iovec* iov, int count) {
    const size_t offset = opcode == FUSE_CREATE ? sizeof(fuse_entry_out) : 0;
    const size_t flags_offset = offset + offsetof(fuse_open_out, open_flags);
    applies_ = count == 2 && iov[1].iov_len <= copy_.size() &&
               iov[1].iov_len >= offset + sizeof(fuse_open_out);
    if (!applies_) return;
    std::memcpy(copy_.data(), iov[1].iov_base, iov[1].iov_len);
    const auto old = LoadLittle<uint32_t>(copy_.data() + flags_offset);
    StoreLittle(copy_.data() + flags_offset, old | flags);
    iov_[0] = iov[0];
    iov_[1] = {.iov_base = copy_.data(), .iov_len = iov[1].iov_len};
  }
  bool applies() const { return applies_; }
  iovec* iov() { return iov_; }

 private:
  std::array<std::byte, sizeof(fuse_entry_out) + sizeof(fuse_open_out)> copy_;
  iovec iov_[2];
  bool applies_ = false;
};

}  // namespace

ShardChannel::ShardChannel(ChannelOptions options, async::Shard* shard, io::UringPoller* poller,
                           Kicker* kicker, ChannelOwner* owner)
    : options_(std::move(options)),
      shard_(shard),
      poller_(poller),
      kicker_(kicker),
      owner_(owner),
      core_(BoundCore()) {}

ShardChannel::~ShardChannel() {
  std::erase_if(t_channels, [this](const auto& entry) { return entry.second == this; });
}

Status ShardChannel::Start(UniqueFd descriptor) {
  const int fd = descriptor.get();
  // init and destroy are called once a mount, not once a shard.
  fuse_lowlevel_ops ops = *options_.ops;
  ops.init = nullptr;
  ops.destroy = nullptr;
  SHEEN_TRY_ASSIGN(session_, NewLibfuseSession(ops, options_.userdata, std::move(descriptor)));
  SHEEN_TRY(ReplayInit(session_.get(), fd, options_.init_message));
  route_ = std::make_unique<ReplyRoute>(fd, this);
  std::erase_if(t_channels, [this](const auto& entry) { return entry.first == session_.get(); });
  t_channels.emplace_back(session_.get(), this);
  if (options_.reads_device) {
    classic_ = std::make_unique<ClassicTransport>(fd, options_.max_write, shard_, poller_, this);
    if (options_.leads) {
      reads_.store(true);
      classic_->Lead();
    }
  }
  if (options_.ring.queues.empty()) return {};
  RingOptions ring = options_.ring;
  ring.descriptor = fd;
  ring_ = std::make_unique<RingTransport>(std::move(ring), shard_, poller_, this, kicker_);
  return ring_->Start();
}

ShardChannel* ShardChannel::Of(fuse_req_t request) {
  const fuse_session* session = SessionOf(request);
  for (const auto& [of, channel] : t_channels) {
    if (of == session) return channel;
  }
  SHEEN_ASSERT(!"called on the shard of the request");
  return nullptr;
}

Request* ShardChannel::Find(uint64_t unique) const {
  if (current_ != nullptr && current_->unique == unique) return current_;
  return table_.Find(unique);
}

MutableByteSpan ShardChannel::ReplyBuffer(Request* request) {
  switch (request->home) {
    case RequestHome::kRing:
      return ring_->ReplyBuffer(static_cast<RingEntry*>(request));
    case RequestHome::kDetached:
      return static_cast<DetachedRequest*>(request)->reply_buffer;
    case RequestHome::kClassic:
      break;
  }
  return classic_->ReplyBuffer(static_cast<ClassicRequest*>(request));
}

void ShardChannel::Process(std::byte* message, size_t bytes) {
  fuse_buf buffer{};
  buffer.mem = message;
  buffer.size = bytes;
  fuse_session_process_buf(session_.get(), &buffer);
}

void ShardChannel::OnRequest(Request* request) {
  requests_.store(requests_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (request->opcode == kernel::kOpcodeTmpfile) {
    request->opcode = FUSE_CREATE;
    StoreLittle<uint32_t>(request->message + offsetof(fuse_in_header, opcode), FUSE_CREATE);
  }
  if (request->opcode > kernel::kOpcodeMax) {
    ReplyError(request, ENOSYS);
    return;
  }
  if (owner_->late()->Any() && MustHold(*request)) {
    Hold(request);
  } else if (!Admits(*request)) {
    AwaitAdmission(request);
  } else {
    Begin(request);
  }
}

bool ShardChannel::Admits(const Request& request) const {
  if (!options_.admits) return true;
  fuse_in_header header;
  std::memcpy(&header, request.message, sizeof header);
  return options_.admits(header.pid, header.uid, header.gid);
}

void ShardChannel::AwaitAdmission(Request* request) {
  request->held = true;
  table_.Insert(request);
  strangers_.push_back({request->unique, shard_->Now() + kAdmissionWait});
  if (!watch_scheduled_) WatchLater(WatchInterval());
  if (strangers_.size() > 1) return;
  shard_->AddTimer(shard_->Now() + kAdmissionLook, [this] { BeginAdmitted(); });
}

void ShardChannel::BeginAdmitted() {
  if (gone_) return;
  const Nanos now = shard_->Now();
  // Those that come meanwhile have a timer of this call.
  for (size_t left = strangers_.size(); left > 0; --left) {
    const Stranger stranger = strangers_.front();
    Request* const request = table_.Find(stranger.unique);
    const bool waits = request != nullptr && request->held;
    if (waits && now < stranger.until && !Admits(*request)) {
      strangers_.push_back(stranger);
      strangers_.pop_front();
      continue;
    }
    if (waits) {
      table_.Take(stranger.unique);
      request->held = false;
      if (owner_->late()->Any() && MustHold(*request)) {
        Hold(request);
      } else {
        Begin(request);
      }
    }
    strangers_.pop_front();
  }
  if (strangers_.empty()) return;
  shard_->AddTimer(shard_->Now() + kAdmissionLook, [this] { BeginAdmitted(); });
}

void ShardChannel::Begin(Request* request) {
  request->began = shard_->Now();
  Request* const outer = std::exchange(current_, request);
  Process(request->message, request->message_bytes);
  current_ = outer;
  if (request->answered) return;
  table_.Insert(request);
  if (!watch_scheduled_) WatchLater(WatchInterval());
}

void ShardChannel::ReplyError(Request* request, int error_number) {
  fuse_out_header out{.len = sizeof out, .error = -error_number, .unique = request->unique};
  iovec iov{.iov_base = &out, .iov_len = sizeof out};
  SendReply(request, &iov, 1);
}

ssize_t ShardChannel::OnReply(iovec* iov, int count) {
  const auto* header = static_cast<const fuse_out_header*>(iov[0].iov_base);
  Request* request = nullptr;
  if (current_ != nullptr && current_->unique == header->unique && !current_->answered) {
    request = current_;
  } else {
    request = table_.Take(header->unique);
  }
  // Not a request of the transports: libfuse's own answer to an INTERRUPT.
  if (request == nullptr) return writev(fuse_session_fd(session_.get()), iov, count);
  request->answered = true;
  options_.stats->Note(*request, iov, count, shard_->Now() - request->began);
  if (request->abandoned) {
    EndAbandoned(request);
    errno = ENOENT;
    return -1;
  }
  return SendReply(request, iov, count);
}

ssize_t ShardChannel::SendReply(Request* request, iovec* iov, int count) {
  OpenAnswer open_answer(request->opcode, request->open_flags, iov, count);
  if (request->open_flags != 0 && open_answer.applies()) iov = open_answer.iov();
  if (request->home == RequestHome::kRing) {
    return ring_->SendReply(static_cast<RingEntry*>(request), iov, count);
  }
  return classic_->SendReply(static_cast<ClassicRequest*>(request), iov, count);
}

void ShardChannel::OnOneWay(MutableByteSpan message) {
  const auto opcode = LoadLittle<uint32_t>(message.data() + offsetof(fuse_in_header, opcode));
  if (opcode != FUSE_INTERRUPT) {
    Process(message.data(), message.size());
    return;
  }
  if (message.size() < sizeof(fuse_in_header) + sizeof(fuse_interrupt_in)) return;
  if (!Interrupt(message)) owner_->ForwardInterrupt(message);
}

bool ShardChannel::Interrupt(MutableByteSpan message) {
  const auto unique = LoadLittle<uint64_t>(message.data() + sizeof(fuse_in_header));
  Request* const request = Find(unique);
  if (request == nullptr) return false;
  if (request->abandoned) return true;
  // libfuse does not know one that has not begun.
  if (!request->held) Process(message.data(), message.size());
  // It may have been answered just now.
  if (Request* const waits = table_.Find(unique); waits != nullptr) {
    waits->interrupted = true;
    WatchLater(kInterruptGrace);
  }
  return true;
}

bool ShardChannel::PostJoin() {
  if (!options_.reads_device || reads_.exchange(true)) return false;
  shard_->Post([this] { classic_->Join(); });
  return true;
}

void ShardChannel::PostLead() {
  reads_.store(true);
  shard_->Post([this] { classic_->Lead(); });
}

void ShardChannel::PostInterrupt(std::vector<std::byte> message) {
  shard_->Post([this, message = std::move(message)]() mutable {
    RetryInterrupt(std::move(message), kInterruptAttempts);
  });
}

void ShardChannel::RetryInterrupt(std::vector<std::byte> message, int attempts_left) {
  if (gone_ || Interrupt(message) || attempts_left <= 1) return;
  // The next turn: Post() from the own shard runs after a poll.
  shard_->Post([this, message = std::move(message), attempts_left]() mutable {
    RetryInterrupt(std::move(message), attempts_left - 1);
  });
}

void ShardChannel::PostGone() {
  shard_->Post([this] {
    OnGone();
    OnReleased();
  });
}

void ShardChannel::OnGone() {
  if (gone_) return;
  gone_ = true;
  if (ring_) ring_->SetGone();
  owner_->OnConnectionGone();
}

bool ShardChannel::HoldsNothing() const {
  if (classic_ && classic_->holds_poll()) return false;
  return !ring_ || ring_->held_by_kernel() == 0;
}

void ShardChannel::OnReleased() {
  if (classic_) reads_.store(classic_->reads());
  if (!gone_ || drained_ || !HoldsNothing()) return;
  drained_ = true;
  owner_->OnDrained();
}

}  // namespace sheen::fuse
