// TcpTransport: the data plane's Transport over TCP sockets on a shard's io_uring.
//
//   received: socket -> 16 KiB staging -> headers, bodies, small bulks
//             socket ---------------------> large bulks, straight into the handler's sink
//   sent:     frames queued in one turn leave in one sendmsg at the turn's end
//
// Shard-confined: call only on the owning shard. Several shards of a daemon have one each and may
// listen on the same port (reuse_port). Links and listeners may outlive the transport object, but
// not the shard, the poller and the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/shard.h"
#include "io/uring.h"
#include "rpc/link.h"

namespace sheen::rpc {

struct TcpOptions {
  // CRC32C of bodies and bulks that are sent; those that come flagged are always verified.
  bool checksums = true;
  bool no_delay = true;  // TCP_NODELAY
  // Peers besides loopback that may connect to our listeners, as "10.0.0.0/8", "fd00::/8"; others
  // are closed before a byte is parsed.
  std::vector<std::string> allow;
  uint32_t connections_max = 4096;  // accepted and open at a time; more are closed at once
  // Several shards of this process listen on one port and the kernel spreads connections over
  // them (SO_REUSEPORT). A port of another process is still an error.
  bool reuse_port = false;
  // The core of the shard that listens, or -1. Among shards that share a port the one takes a
  // connection on whose core it arrives: for a peer on this host the peer's own core.
  int incoming_core = -1;
  // A peer that does not read: the link is closed when so much is queued for it.
  size_t send_queue_bytes_max = size_t{1} << 30;
};

struct TcpState;

class TcpTransport final : public Transport {
 public:
  // `pool` resolves host names.
  TcpTransport(async::Shard* shard, io::UringPoller* uring, async::BlockingPool* pool,
               TcpOptions options = {});
  ~TcpTransport() override;

  // Tries each address of the host in turn. Errors: kConnectionRefused, kTimedOut, kNoEntry (no
  // such host), kUnavailable (no route), kCancelled (Stop was called).
  async::Task<Result<std::unique_ptr<Link>>> Connect(Address address, Nanos timeout) override;
  // An empty host or "*": all addresses. A host name (not a literal) is looked up on the spot,
  // which may block: listeners are made at start. Errors: kBusy (port in use), kInvalid (bad
  // CIDR in `allow`), kNoEntry (no such host or address here).
  Result<std::unique_ptr<Listener>> Listen(const Address& address, AcceptFunction accept) override;

  // Closes every link and connect of this transport (reason kCancelled) and waits until the
  // kernel holds none of their buffers. Call it before the shard's last turn.
  async::Task<void> Stop();
  // Open links, and closed ones whose last completion has not come.
  size_t link_count() const;

 private:
  std::shared_ptr<TcpState> state_;
};

}  // namespace sheen::rpc
