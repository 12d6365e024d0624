// TcpAcceptor: a listening socket of TcpTransport and its multishot accept; TcpListener, the
// users' handle to it. Shard-confined.
#pragma once

#include <memory>
#include <string>

#include "rpc/socket_address.h"
#include "rpc/tcp_connection.h"

namespace sheen::rpc {

class TcpAcceptor final : public std::enable_shared_from_this<TcpAcceptor>,
                          private TcpActivity,
                          private io::Completion {
 public:
  struct Options {
    int fd = -1;             // listening
    std::string shared_key;  // in the list of ports that this process shares; empty: not there
    SocketAddress local;
    CidrList allow;
    AcceptFunction accept;
  };
  static std::shared_ptr<TcpAcceptor> Open(std::shared_ptr<TcpState> state, Options options);
  TcpAcceptor(std::shared_ptr<TcpState> state, Options options);
  ~TcpAcceptor();

  // No more connections; the port is free when the kernel has given back the accept.
  void Close();
  uint16_t port() const { return options_.local.port(); }

 private:
  void StopActivity() override { Close(); }
  void Complete(int32_t result, uint32_t flags) override;
  void Arm();
  void ArmLater();
  void Accepted(int fd);
  void Finish();

  const std::shared_ptr<TcpState> state_;
  Options options_;
  std::shared_ptr<TcpAcceptor> keep_;  // ourselves, until closed
  bool closing_ = false;
  bool pending_ = false;
  bool timer_set_ = false;
  async::TimerId timer_;
};

class TcpListener final : public Listener {
 public:
  explicit TcpListener(std::shared_ptr<TcpAcceptor> acceptor) : acceptor_(std::move(acceptor)) {}
  ~TcpListener() override { acceptor_->Close(); }
  uint16_t port() const override { return acceptor_->port(); }

 private:
  const std::shared_ptr<TcpAcceptor> acceptor_;
};

// Binds and listens; for the constructor of a TcpAcceptor. Errors: as Transport::Listen.
Result<TcpAcceptor::Options> OpenListeningSocket(const Address& address, bool reuse_port);

}  // namespace sheen::rpc
