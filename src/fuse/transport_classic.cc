#include "fuse/transport_classic.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "fuse/cpu_list.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

// A message is read so that the bytes of a WRITE begin on a page.
constexpr size_t kPageBytes = 4096;
constexpr size_t kWriteHeaderBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);
constexpr size_t kMessageOffset = kPageBytes - kWriteHeaderBytes;
// The kernel refuses a read that could not take the longest SETXATTR (XATTR_SIZE_MAX is 64 KiB).
constexpr size_t kPayloadBytesMin = 128 * 1024;
// Up to this a parked message is copied; beyond it the read buffer goes with the request.
constexpr size_t kCopyBytesMax = 16 * 1024;
// Between looks at what else has completed on the ring.
constexpr int kReadsPerTurn = 32;
// So many wake-ups with requests of more than one caller waiting call another shard in; it leaves
// after kJoinTime and is called again if that was too early. Requests of one caller do not count: a
// RELEASE that nobody waits for comes together with the next LOOKUP.
constexpr int kCrowdedWakeups = 8;
// Of looks at the caller's core; two in a row that agree move the lead.
constexpr Nanos kLookInterval = std::chrono::milliseconds(2);
constexpr Nanos kJoinTime = std::chrono::milliseconds(100);

bool IsOneWay(uint32_t opcode) {
  return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT ||
         opcode == FUSE_NOTIFY_REPLY;
}

size_t SizeFieldOf(const std::byte* argument, size_t offset, size_t max_write) {
  return std::min<size_t>(LoadLittle<uint32_t>(argument + offset), max_write);
}

// The longest reply that `request` may get.
size_t ReplyBytesMax(const Request& request, size_t max_write) {
  const std::byte* argument = request.message + sizeof(fuse_in_header);
  const size_t argument_bytes = request.message_bytes - sizeof(fuse_in_header);
  switch (request.opcode) {
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      if (argument_bytes < sizeof(fuse_read_in)) return max_write;
      return SizeFieldOf(argument, offsetof(fuse_read_in, size), max_write);
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      if (argument_bytes < sizeof(fuse_getxattr_in)) return max_write;
      return SizeFieldOf(argument, offsetof(fuse_getxattr_in, size), max_write);
    default:
      return max_write;
  }
}

}  // namespace

ClassicTransport::ClassicTransport(int descriptor, size_t max_write, async::Shard* shard,
                                   io::UringPoller* poller, RequestSink* sink)
    : descriptor_(descriptor),
      max_write_(max_write),
      read_bytes_(kWriteHeaderBytes + std::max(max_write, kPayloadBytesMin)),
      core_(BoundCore()),
      shard_(shard),
      poller_(poller),
      sink_(sink) {}

void ClassicTransport::Arm() {
  io_uring_sqe* sqe = poller_->NextSqe();
  io_uring_prep_poll_add(sqe, descriptor_, POLLIN | EPOLLEXCLUSIVE);
  io::UringPoller::Attach(sqe, this);
  armed_ = true;
}

void ClassicTransport::Lead() {
  leads_ = true;
  leaving_ = false;
  if (reads_ || gone_) return;
  reads_ = true;
  Arm();
}

void ClassicTransport::Join() {
  if (reads_ || gone_) return;
  reads_ = true;
  Arm();
  shard_->AddTimer(shard_->Now() + kJoinTime, [this] { Leave(); });
}

void ClassicTransport::Leave() {
  if (leads_ || !reads_) return;
  leaving_ = true;
  if (armed_) poller_->Cancel(this);
}

void ClassicTransport::Complete(int32_t, uint32_t) {
  armed_ = false;
  if (!gone_ && ReadAll()) {
    // Before it leaves it has read what there was: nobody else may have been woken for it.
    if (!std::exchange(leaving_, false)) {
      Arm();
      return;
    }
    reads_ = false;
    sink_->OnReleased();
    return;
  }
  if (!gone_) {
    gone_ = true;
    sink_->OnGone();
  }
  sink_->OnReleased();
}

void ClassicTransport::FollowCaller(uint32_t caller) {
  if (!leads_ || core_ < 0 || caller == 0) return;
  const Nanos now = shard_->Now();
  if (now < next_look_) return;
  next_look_ = now + kLookInterval;
  const int core = CoreOfThread(caller);
  const int before = std::exchange(last_seen_core_, core);
  if (core < 0 || core == core_ || core != before) return;
  if (!sink_->OnCallerElsewhere(core)) return;
  leads_ = false;
  Leave();
}

bool ClassicTransport::ReadAll() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (buffer_.empty()) buffer_ = io::Buffer::Allocate(kMessageOffset + read_bytes_);
    const ssize_t got = read(descriptor_, buffer_.data() + kMessageOffset, read_bytes_);
    if (got >= static_cast<ssize_t>(sizeof(fuse_in_header))) {
      Deliver(static_cast<size_t>(got));
      continue;
    }
    const int failed = got < 0 ? errno : EIO;
    if (failed == EAGAIN) {
      AskForHelp();
      return true;
    }
    // ENOENT: the caller was killed while we read its request.
    if (failed == EINTR || failed == ENOENT) continue;
    if (failed != ENODEV && failed != ECONNABORTED) {
      SHEEN_LOG(Error, "read /dev/fuse: {}; no more requests are served", std::strerror(failed));
    }
    return false;
  }
  AskForHelp();
  return true;
}

void ClassicTransport::AskForHelp() {
  crowded_wakeups_ = std::max(0, crowded_wakeups_ + (many_callers_ ? 1 : -1));
  many_callers_ = false;
  caller_ = 0;
  if (crowded_wakeups_ < kCrowdedWakeups) return;
  crowded_wakeups_ = 0;
  sink_->OnCrowded();
}

void ClassicTransport::Deliver(size_t bytes) {
  std::byte* message = buffer_.data() + kMessageOffset;
  fuse_in_header header;
  std::memcpy(&header, message, sizeof header);
  if (header.pid != 0) {
    many_callers_ |= caller_ != 0 && caller_ != header.pid;
    caller_ = header.pid;
  }
  FollowCaller(header.pid);
  if (IsOneWay(header.opcode)) {
    sink_->OnOneWay({message, bytes});
    return;
  }
  ClassicRequest* request = NewRequest();
  request->unique = header.unique;
  request->opcode = header.opcode;
  request->caller = header.pid;
  request->message_bytes = bytes;
  KeepMessage(request, bytes);
  sink_->OnRequest(request);
}

void ClassicTransport::KeepMessage(ClassicRequest* request, size_t bytes) {
  std::byte* message = buffer_.data() + kMessageOffset;
  if (bytes <= kInlineMessageBytes) {
    request->message = request->inline_message;
    std::memcpy(request->message, message, bytes);
  } else if (bytes <= kCopyBytesMax) {
    request->message_buffer = io::Buffer::Allocate(kMessageOffset + bytes);
    request->message = request->message_buffer.data() + kMessageOffset;
    std::memcpy(request->message, message, bytes);
  } else {
    request->message_buffer = std::move(buffer_);
    request->message = message;
  }
}

ClassicRequest* ClassicTransport::NewRequest() {
  if (idle_.empty()) {
    requests_.push_back(std::make_unique<ClassicRequest>());
    idle_.push_back(requests_.back().get());
  }
  ClassicRequest* request = idle_.back();
  idle_.pop_back();
  request->open_flags = 0;
  request->answered = false;
  request->abandoned = false;
  request->held = false;
  request->interrupted = false;
  request->looks = 0;
  request->late = false;
  return request;
}

void ClassicTransport::Free(ClassicRequest* request) {
  // The buffer that the next read needs anyway need not go through the pool.
  if (buffer_.empty() && request->message_bytes > kCopyBytesMax) {
    buffer_ = std::move(request->message_buffer);
  }
  request->message_buffer = {};
  request->reply_buffer = {};
  request->answered = true;
  idle_.push_back(request);
}

MutableByteSpan ClassicTransport::ReplyBuffer(ClassicRequest* request) {
  if (request->reply_buffer.empty()) {
    const size_t bytes = std::max<size_t>(ReplyBytesMax(*request, max_write_), kPageBytes);
    request->reply_buffer = io::Buffer::Allocate(bytes);
  }
  return request->reply_buffer.span();
}

void ClassicTransport::Abandon(ClassicRequest* request) {
  fuse_out_header out{.len = sizeof out, .error = -EINTR, .unique = request->unique};
  iovec iov{.iov_base = &out, .iov_len = sizeof out};
  // It fails when the kernel has taken the request back, which is as good.
  [[maybe_unused]] const ssize_t sent = writev(descriptor_, &iov, 1);
}

ssize_t ClassicTransport::SendReply(ClassicRequest* request, iovec* iov, int count) {
  const ssize_t sent = writev(descriptor_, iov, count);
  const int failed = errno;
  Free(request);
  // After an unmount nobody waits for the answer: as when the caller was killed.
  if (sent < 0) errno = failed == ENODEV ? ENOENT : failed;
  return sent;
}

}  // namespace sheen::fuse
