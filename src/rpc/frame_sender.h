// FrameSender: the queue of messages of one connection, and the iovecs of what goes next. It owns
// no socket: the link gives Prepare()'s msghdr to the kernel and says how many bytes were taken.
//
//   Push -> [pending] --swap when [sending] is empty--> [sending] -> one msghdr of many frames
//
// Messages in `sending` do not move while the kernel may hold their bytes. Shard-confined.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <vector>

#include "rpc/link.h"

namespace sheen::rpc {

struct FrameSenderOptions {
  bool checksums = true;
  bool is_server = false;  // what we send says kFromServer
};

class FrameSender final {
 public:
  explicit FrameSender(FrameSenderOptions options) : options_(options) {}

  void Push(Message message);
  bool empty() const { return queued_bytes_ == 0; }
  size_t queued_bytes() const { return queued_bytes_; }
  // The next bytes to send; nullptr when nothing is queued. Valid until Advance() or the next
  // Prepare(). REQUIRES: the kernel holds no earlier one.
  msghdr* Prepare();
  // Of the last Prepare().
  size_t prepared_bytes() const { return prepared_bytes_; }
  // `count` bytes of the last Prepare() were taken.
  void Advance(size_t count);
  // Drops everything. REQUIRES: the kernel holds nothing.
  void Clear();

 private:
  struct Outgoing {
    HeaderBytes header;
    bool sealed = false;  // header holds lengths, flags and checksums
    Message message;
    size_t size() const { return kHeaderBytes + message.body.size() + message.bulk_bytes().size(); }
  };
  static constexpr size_t kFramesMax = 64;  // of one sendmsg
  static constexpr size_t kPartsPerFrame = 3;

  void Seal(Outgoing* frame);
  void AddParts(const Outgoing& frame, size_t skip);
  void AddPart(ByteSpan part, size_t* skip);

  const FrameSenderOptions options_;
  std::vector<Outgoing> pending_;
  std::vector<Outgoing> sending_;
  size_t first_ = 0;         // index in sending_ of the first frame not wholly taken
  size_t first_offset_ = 0;  // bytes of it that were taken
  size_t queued_bytes_ = 0;
  size_t prepared_bytes_ = 0;
  std::array<iovec, kFramesMax * kPartsPerFrame> parts_{};
  size_t part_count_ = 0;
  msghdr header_{};
};

}  // namespace sheen::rpc
