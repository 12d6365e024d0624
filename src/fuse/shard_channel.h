// ShardChannel: a session's part on one shard. It joins the transports with a libfuse session of
// its own, finds a request again by its number when the reply comes, and brings interrupts to the
// shard of the request that they are for.
//
// A process that is killed while it waits here must end, but the kernel has it wait for the answer.
// So the callers of requests that wait are looked at (fuse/caller.h): soon after an INTERRUPT,
// which the kernel sends once, at the first signal, and every kWatchInterval, for those about whom
// it sends none (large O_DIRECT reads and writes). Who is being killed has EINTR for an answer; the
// request goes on with its memory until it ends by itself (fuse/late_requests.h).
// (shard_channel_watch.cc)
//
// Shard-confined, except where said.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "async/shard.h"
#include "fuse/late_requests.h"
#include "fuse/libfuse_session.h"
#include "fuse/op_stats.h"
#include "fuse/request.h"
#include "fuse/transport_classic.h"
#include "fuse/transport_uring.h"

namespace sheen::fuse {

// How often the callers of requests that wait are looked at, and how long after a signal to one of
// them: most requests end meanwhile.
inline constexpr Nanos kWatchInterval = std::chrono::milliseconds(100);
inline constexpr Nanos kInterruptGrace = std::chrono::milliseconds(30);
// How long a request waits to be admitted, and how often that is looked at.
inline constexpr Nanos kAdmissionWait = std::chrono::milliseconds(20);
inline constexpr Nanos kAdmissionLook = std::chrono::microseconds(200);

// What channels need of the session that they belong to. Thread-safe.
class ChannelOwner {
 public:
  // Has one more channel read requests.
  virtual void CallHelper() = 0;
  // Has the channel of `core` read them from now on; false when there is none.
  virtual bool PassLead(int core) = 0;
  // The connection is over: tell every channel.
  virtual void OnConnectionGone() = 0;
  // `channel` holds nothing in the kernel any more, and nothing will come. Once a channel.
  virtual void OnDrained() = 0;
  // `message` is an INTERRUPT whose request is not on the shard that read it, or not yet: give it
  // to all.
  virtual void ForwardInterrupt(ByteSpan message) = 0;
  // Requests of all channels whose callers have gone.
  virtual LateRequests* late() = 0;
  // One of them that may have changed something has ended.
  virtual void OnLateChange(const Subject& subject) = 0;

 protected:
  ~ChannelOwner() = default;
};

struct ChannelOptions {
  const fuse_lowlevel_ops* ops = nullptr;
  void* userdata = nullptr;
  MutableByteSpan init_message;  // to replay
  size_t max_write = 0;
  bool reads_device = true;  // this shard reads its descriptor
  bool leads = true;         // first of all
  RingOptions ring;          // no queues: classic
  OpStats* stats = nullptr;  // counts here
  // Whether a request of this caller may begin (Session::set_admission); none: all may.
  std::function<bool(uint32_t pid, uint32_t uid, uint32_t gid)> admits;
};

class ShardChannel final : public RequestSink, public ReplyTarget {
 public:
  ShardChannel(ChannelOptions options, async::Shard* shard, io::UringPoller* poller, Kicker* kicker,
               ChannelOwner* owner);
  ~ShardChannel();
  ShardChannel(const ShardChannel&) = delete;
  ShardChannel& operator=(const ShardChannel&) = delete;

  // `descriptor` is this shard's alone; requests that it reads are answered by it.
  Status Start(UniqueFd descriptor);

  // The channel of this thread that serves `request`.
  static ShardChannel* Of(fuse_req_t request);
  // nullptr for one that is not on this shard or has been answered.
  Request* Find(uint64_t unique) const;
  MutableByteSpan ReplyBuffer(Request* request);

  // Reads requests for a while; false when it does already. Thread-safe.
  bool PostJoin();
  // Reads requests from now on. Thread-safe.
  void PostLead();
  // The core that the shard's thread is bound to; negative: to no single one.
  int core() const { return core_; }
  // Hands an INTERRUPT over that another shard has read. Thread-safe.
  void PostInterrupt(std::vector<std::byte> message);
  // Thread-safe.
  void PostGone();

  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  // Requests whose callers have gone, so far.
  uint64_t abandoned() const { return abandoned_.load(std::memory_order_relaxed); }
  // nullptr without a ring. Thread-safe.
  const RingCounters* ring_counters() const { return ring_ ? &ring_->counters() : nullptr; }

  // RequestSink
  void OnRequest(Request* request) override;
  void OnOneWay(MutableByteSpan message) override;
  void OnCrowded() override { owner_->CallHelper(); }
  bool OnCallerElsewhere(int core) override { return owner_->PassLead(core); }
  void OnGone() override;
  void OnReleased() override;
  // ReplyTarget
  ssize_t OnReply(iovec* iov, int count) override;

 private:
  void Process(std::byte* message, size_t bytes);
  void ReplyError(Request* request, int error_number);
  ssize_t SendReply(Request* request, iovec* iov, int count);
  // False when the request that it is for is not here.
  bool Interrupt(MutableByteSpan message);
  void RetryInterrupt(std::vector<std::byte> message, int attempts_left);
  bool HoldsNothing() const;
  void Begin(Request* request);

  // Requests of callers that are not admitted yet.
  bool Admits(const Request& request) const;
  void AwaitAdmission(Request* request);
  void BeginAdmitted();

  // Late requests, and those that wait for them.
  bool MustHold(const Request& request) const;
  void Hold(Request* request);
  void Defer(Request* request);
  void ReleaseHeldLater();
  void ReleaseHeld();
  void WatchLater(Nanos wait);
  Nanos WatchInterval() const;
  void Watch();
  void Abandon(Request* request);
  void InterruptKilled(Request* request);
  void EndAbandoned(Request* request);

  const ChannelOptions options_;
  async::Shard* const shard_;
  io::UringPoller* const poller_;
  Kicker* const kicker_;
  ChannelOwner* const owner_;
  const int core_;
  LibfuseSession session_;
  std::unique_ptr<ReplyRoute> route_;
  std::unique_ptr<ClassicTransport> classic_;
  std::unique_ptr<RingTransport> ring_;
  RequestTable table_;
  Request* current_ = nullptr;  // in libfuse now, not yet in the table
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> abandoned_{0};
  std::unordered_map<uint64_t, std::shared_ptr<DetachedRequest>> detached_;  // by unique
  std::deque<uint64_t> held_;  // uniques, oldest first; also of deferred ones
  bool release_scheduled_ = false;
  struct Stranger {
    uint64_t unique = 0;
    Nanos until{0};
  };
  std::deque<Stranger> strangers_;  // oldest first; a timer looks at them while there are some
  bool watch_scheduled_ = false;
  async::TimerId watch_timer_;
  size_t watched_first_ = 0;  // who is looked at first
  size_t late_bytes_ = 0;     // memory that late requests may use
  bool many_late_logged_ = false;
  std::atomic<bool> reads_{false};
  bool gone_ = false;
  bool drained_ = false;
};

}  // namespace sheen::fuse
