// Link: a pipe of frames to one peer; Transport makes them. TcpTransport (io_uring) is the real
// thing, SimTransport the fake: delays, losses of connections, partitions, from a seed.
//
// Shard-confined: a link lives on the shard that connected or accepted it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/task.h"
#include "base/clock.h"
#include "io/buffer.h"
#include "rpc/frame.h"

namespace sheen::rpc {

struct Address {
  std::string host;  // name or literal; IPv6 without brackets
  uint16_t port = 0;
  std::string ToString() const;  // "host:port", "[::1]:7988"
  bool operator==(const Address&) const = default;
};

struct Message {
  FrameHeader header;      // lengths, CRCs and kFromServer are filled in by the link
  std::string body;
  // Bulk bytes to send: `bulk` if it owns them, else `bulk_view`, which must stay valid until the
  // link has sent it (a caller that awaits the reply, or the link's end, is safe).
  // Received bulk: in `bulk`, or in the sink that LinkHandler gave (then bulk is empty and
  // bulk_view shows it).
  io::Buffer bulk;
  ByteSpan bulk_view;

  ByteSpan bulk_bytes() const { return bulk.empty() ? bulk_view : bulk.span(); }
};

class LinkHandler {
 public:
  // Where the bulk of the frame shall go; an empty span: the link allocates a Buffer. The span
  // must have at least header.bulk_bytes bytes, else the link allocates too.
  virtual MutableByteSpan SinkFor(const FrameHeader& header) = 0;
  virtual void OnMessage(Message message) = 0;
  // Last call; nothing is sent or written into a sink any more. May destroy the link.
  virtual void OnClosed(const Error& reason) = 0;

 protected:
  ~LinkHandler() = default;
};

class Link {
 public:
  virtual ~Link() = default;
  // Queues; never blocks. Dropped when the link is closed.
  virtual void Send(Message message) = 0;
  // OnClosed follows, in a later turn.
  virtual void Close(Error reason) = 0;
  virtual const std::string& peer() const = 0;  // "10.0.0.1:4711", for logs
  // Handlers are set before the first turn after connect or accept.
  virtual void SetHandler(LinkHandler* handler) = 0;
  // Body and HELLO limits: before a session exists, bigger bodies and any bulk close the link.
  virtual void SetEstablished() = 0;
  // Bytes queued and not yet taken by the kernel: servers push back on readers that do not read.
  virtual size_t queued_bytes() const = 0;
  // False: no more messages are delivered until true again (at the earliest in a later turn); what
  // the peer sends stays in the socket. Links without flow control ignore it.
  virtual void SetReceiving(bool /*receiving*/) {}
};

using AcceptFunction = std::function<void(std::unique_ptr<Link>)>;

class Listener {
 public:
  virtual ~Listener() = default;  // stops accepting
  virtual uint16_t port() const = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Errors: kConnectionRefused, kTimedOut, kNoEntry (no such host).
  virtual async::Task<Result<std::unique_ptr<Link>>> Connect(Address address, Nanos timeout) = 0;
  // Port 0: the kernel chooses. Errors: kBusy (port in use: kBusy with the address in the message).
  virtual Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                                   AcceptFunction accept) = 0;
};

}  // namespace sheen::rpc
