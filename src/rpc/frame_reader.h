// FrameReader: cuts the bytes of one connection into messages. It owns no socket: the link asks
// where the next bytes shall go, receives them there and says how many came.
//
//   socket -> [16 KiB staging] -> header -> body -> bulk -> Message
//                     `-- a large rest of a body or bulk is received in place, past the staging
//
// Every length is checked before anything is allocated. Shard-confined.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/buffer.h"
#include "rpc/link.h"

namespace sheen::rpc {

class FrameReader final {
 public:
  struct Target {
    MutableByteSpan span;
    bool fill = false;  // exactly span.size() bytes are missing: wait for all of them
  };

  // `peer_is_server`: the frames must say so (kFromServer), or else must not.
  explicit FrameReader(bool peer_is_server);

  // From now on the full limits apply instead of HELLO's.
  void SetEstablished() { established_ = true; }
  // Where to receive. REQUIRES: the last Step() gave false.
  Target Next();
  // `count` bytes were put at the start of the last target.
  void Received(size_t count);
  // True: a message is complete, Take() it. False: more bytes are needed. `handler` is asked for a
  // sink once the body of a frame with bulk is there.
  // Errors: kProtocol, kBadVersion, kCorrupt; the stream is then of no use any more.
  Result<bool> Step(LinkHandler* handler);
  Message Take();
  // Inside a frame: an end of the stream now is a loss.
  bool mid_frame() const { return stage_ != Stage::kHeader || staged() > 0; }

 private:
  enum class Stage : uint8_t { kHeader, kBody, kBulk };

  size_t staged() const { return staged_end_ - staged_begin_; }
  Status BeginFrame();
  void BeginBulk(LinkHandler* handler);
  // Moves staged bytes to the current part; true when the part is complete.
  bool FillPart();
  void SetPart(Stage stage, MutableByteSpan part);

  const bool peer_is_server_;
  bool established_ = false;
  Stage stage_ = Stage::kHeader;
  bool target_is_part_ = false;  // of the last Next()
  Message message_;
  MutableByteSpan part_;  // body or bulk being filled
  size_t part_filled_ = 0;
  io::Buffer staging_;
  size_t staged_begin_ = 0;
  size_t staged_end_ = 0;
};

}  // namespace sheen::rpc
