// FUSE over io_uring for one shard: the ring queues of the cores that the shard serves.
//
// The kernel gives a request to the queue of the core that its caller runs on, in one of the
// entries that are registered there. The entry is bound to the request until the reply, which is
// committed with the same entry and so makes it available again. When fewer than kSpareEntries of a
// queue are with the kernel a further one is registered, so that parked requests (locks, servers
// that are away) never keep others out.
//
//   one entry's memory:   | RingHeader ... | in_header, op | payload (max_write) |
//                         0                                4096
//
// The kernel fills the header and the payload; the message's head is copied to where it ends at the
// payload, and so the whole is contiguous for libfuse with no copy of written bytes.
//
// That memory is mapped twice: where the kernel was told that it is, and where this process reads
// and writes. So an entry can be answered while transfers of its request still go on (Detach): the
// kernel's place gets new memory, the transfers keep the old in theirs.
//
// Shard-confined.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "async/shard.h"
#include "fuse/fuse_kernel.h"
#include "fuse/kicker.h"
#include "fuse/request.h"
#include "io/uring.h"
#include "sheen/result.h"

namespace sheen::fuse {

class RingQueue;

struct RingEntry final : Request, io::Completion {
  RingQueue* queue = nullptr;
  std::byte* kernel_page = nullptr;  // where the kernel has the entry; nobody else looks there
  std::byte* page = nullptr;         // the same memory for us: header, then payload
  kernel::RingHeader* header = nullptr;
  std::byte* payload = nullptr;
  iovec vectors[2] = {};
  uint64_t commit_id = 0;
  uint64_t submit_turn = 0;
  bool registered = false;  // the kernel has taken it
  bool with_kernel = false;
  bool release_listed = false;  // waits to have its memory given back
  bool beyond_base = false;

  void Complete(int32_t result, uint32_t flags) override;
};

struct RingOptions {
  int descriptor = -1;
  size_t payload_bytes = 0;      // whole pages
  uint32_t base_entries = 8;     // of each queue
  std::vector<uint16_t> queues;  // that this shard serves
};

struct RingCounters {
  std::atomic<uint64_t> entries{0};
  std::atomic<uint64_t> grown{0};
  std::atomic<uint64_t> kicks{0};
};

// What the queues of one shard share.
struct RingContext {
  RingOptions options;
  async::Shard* shard = nullptr;
  io::UringPoller* poller = nullptr;
  RequestSink* sink = nullptr;
  Kicker* kicker = nullptr;
  RingCounters counters;
  bool gone = false;  // the connection is over: commit nothing more
};

class RingTransport final {
 public:
  RingTransport(RingOptions options, async::Shard* shard, io::UringPoller* poller,
                RequestSink* sink, Kicker* kicker);
  // REQUIRES: held_by_kernel() is 0.
  ~RingTransport();
  RingTransport(const RingTransport&) = delete;
  RingTransport& operator=(const RingTransport&) = delete;

  // Registers the base entries of all queues. Errors: kNoMemory; kInvalid: the poller's ring has
  // no SQE128.
  Status Start();
  // As writev(2). Ends the request.
  ssize_t SendReply(RingEntry* entry, iovec* iov, int count);
  // Answers with EINTR, once: what is left of the request has its memory and is the caller's; the
  // entry is as one that was answered. Empty when there is no memory; nothing has changed then.
  std::unique_ptr<DetachedRequest> Detach(RingEntry* entry);
  MutableByteSpan ReplyBuffer(RingEntry* entry) const {
    return {entry->payload, context_.options.payload_bytes};
  }
  void SetGone() { context_.gone = true; }
  uint64_t held_by_kernel() const;
  const RingCounters& counters() const { return context_.counters; }

 private:
  RingContext context_;
  std::vector<std::unique_ptr<RingQueue>> queues_;
};

}  // namespace sheen::fuse
