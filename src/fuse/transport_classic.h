// The classic transport of one shard: requests are read from a /dev/fuse descriptor and answered by
// writes to the same descriptor.
//
//   poll (once, exclusive) -> read until EAGAIN -> poll again
//
// All shards' descriptors share the kernel's queue of requests, and any may read any. Waking a
// shard on another core than the caller's costs many times the request (measured on 2 cores: 5 us
// against 50 us for a 4 KiB write). So one shard, the leader, reads; and it looks now and then
// where its callers run, and gives the lead to the shard of that core. Only while requests come
// faster than it reads them others join, for a while. The poll is exclusive, so that a request
// wakes one of those; and it is armed anew each time, at the tail of the kernel's queue, so that a
// busy shard is not chosen.
//
// Shard-confined.
#pragma once

#include <memory>
#include <vector>

#include "async/shard.h"
#include "fuse/request.h"
#include "io/buffer.h"
#include "io/uring.h"
#include "sheen/result.h"

struct iovec;

namespace sheen::fuse {

// Small messages are copied out of the read buffer so that a parked request holds little memory.
inline constexpr size_t kInlineMessageBytes = 512;

struct ClassicRequest final : Request {
  alignas(8) std::byte inline_message[kInlineMessageBytes];
  io::Buffer message_buffer;  // of a message that is longer
  io::Buffer reply_buffer;    // allocated when asked for
};

class ClassicTransport final : public io::Completion {
 public:
  // `descriptor` (non-blocking) stays the caller's. `max_write` as negotiated.
  ClassicTransport(int descriptor, size_t max_write, async::Shard* shard, io::UringPoller* poller,
                   RequestSink* sink);
  ~ClassicTransport() = default;
  ClassicTransport(const ClassicTransport&) = delete;
  ClassicTransport& operator=(const ClassicTransport&) = delete;

  // Reads until the connection ends or FollowCaller() gives the lead away.
  void Lead();
  // Reads for a while.
  void Join();
  // As writev(2). Ends `request`.
  ssize_t SendReply(ClassicRequest* request, iovec* iov, int count);
  // Answers with EINTR and keeps `request` and its memory until Free().
  void Abandon(ClassicRequest* request);
  void Free(ClassicRequest* request);
  MutableByteSpan ReplyBuffer(ClassicRequest* request);
  bool reads() const { return reads_; }
  // Whether the kernel has a poll of ours.
  bool holds_poll() const { return armed_; }

  void Complete(int32_t result, uint32_t flags) override;

 private:
  void Arm();
  // False when the connection is over.
  bool ReadAll();
  void AskForHelp();
  void FollowCaller(uint32_t caller);
  void Leave();
  void Deliver(size_t bytes);
  ClassicRequest* NewRequest();
  void KeepMessage(ClassicRequest* request, size_t bytes);

  const int descriptor_;
  const size_t max_write_;
  const size_t read_bytes_;  // what the kernel demands a read to offer
  const int core_;           // that this thread is bound to; negative: to no single one
  async::Shard* const shard_;
  io::UringPoller* const poller_;
  RequestSink* const sink_;
  io::Buffer buffer_;
  bool armed_ = false;
  bool leads_ = false;
  bool reads_ = false;    // has a poll, or is reading
  bool leaving_ = false;  // stops reading at its next wake-up
  Nanos next_look_{0};    // at the caller's core
  int last_seen_core_ = -1;
  uint32_t caller_ = 0;        // of the last request of this wake-up
  bool many_callers_ = false;  // it brought requests of more than one
  int crowded_wakeups_ = 0;    // those that did, less those that did not
  bool gone_ = false;
  std::vector<std::unique_ptr<ClassicRequest>> requests_;  // all there are
  std::vector<ClassicRequest*> idle_;
};

}  // namespace sheen::fuse
