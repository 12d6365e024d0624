#include "fuse/transport_uring.h"

#include "fuse/ring_queue.h"

namespace sheen::fuse {

RingTransport::RingTransport(RingOptions options, async::Shard* shard, io::UringPoller* poller,
                             RequestSink* sink, Kicker* kicker) {
  context_.options = std::move(options);
  context_.shard = shard;
  context_.poller = poller;
  context_.sink = sink;
  context_.kicker = kicker;
  for (const uint16_t id : context_.options.queues) {
    queues_.push_back(std::make_unique<RingQueue>(id, &context_));
  }
}

RingTransport::~RingTransport() = default;

Status RingTransport::Start() {
  if ((context_.poller->ring()->flags & IORING_SETUP_SQE128) == 0) {
    return Fail(Errc::kInvalid, "FUSE over io_uring needs a ring created with sqe128");
  }
  for (const auto& queue : queues_) SHEEN_TRY(queue->Start());
  return {};
}

ssize_t RingTransport::SendReply(RingEntry* entry, iovec* iov, int count) {
  return entry->queue->SendReply(entry, iov, count);
}

std::unique_ptr<DetachedRequest> RingTransport::Detach(RingEntry* entry) {
  return entry->queue->Detach(entry);
}

uint64_t RingTransport::held_by_kernel() const {
  uint64_t held = 0;
  for (const auto& queue : queues_) held += queue->held_by_kernel();
  return held;
}

}  // namespace sheen::fuse
