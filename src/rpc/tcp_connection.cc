#include "rpc/tcp_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace sheen::rpc {
namespace {

// A send that may stay unfinished in the books until the next event.
constexpr size_t kQuietBytesMax = 64 << 10;
constexpr unsigned kUnacknowledgedMaxMs = 20'000;

bool IsTransient(int32_t result) { return result == -EINTR || result == -EAGAIN; }

bool IsBadFrame(Errc code) {
  return code == Errc::kProtocol || code == Errc::kCorrupt || code == Errc::kBadVersion;
}

}  // namespace

std::shared_ptr<TcpConnection> TcpConnection::Open(std::shared_ptr<TcpState> state,
                                                   Options options) {
  auto connection = std::make_shared<TcpConnection>(std::move(state), std::move(options));
  connection->keep_ = connection;
  return connection;
}

TcpConnection::TcpConnection(std::shared_ptr<TcpState> state, Options options)
    : state_(std::move(state)),
      fd_(options.fd),
      accepted_(options.accepted),
      peer_(std::move(options.peer)),
      reader_(/*peer_is_server=*/!options.accepted),
      sender_({.checksums = state_->options.checksums, .is_server = options.accepted}) {
  const int no_delay = state_->options.no_delay ? 1 : 0;
  (void)setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
  // A machine that went without a word and is back does not know the connection: the kernel's
  // retransmissions, further and further apart, would find that out up to a minute later.
  if (!accepted_) {
    (void)setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMaxMs,
                     sizeof kUnacknowledgedMaxMs);
  }
  state_->Add(this);
  ++state_->connection_count;
  if (accepted_) ++state_->accepted_count;
}

TcpConnection::~TcpConnection() = default;

void TcpConnection::StopActivity() { Close(Error(Errc::kCancelled, "the transport stops")); }

void TcpConnection::SetHandler(LinkHandler* handler) {
  SHEEN_ASSERT(handler != nullptr);
  handler_ = handler;
  if (phase_ == Phase::kOpen && !receive_pending_ && !delivering_ && !deliver_posted_) {
    ArmReceive();
  }
  if (phase_ == Phase::kClosed && !told_closed_) {
    state_->shard->Post([self = shared_from_this()] { self->TellClosed(); });
  }
}

void TcpConnection::Send(Message message) {
  if (phase_ != Phase::kOpen || send_broken_) return;
  sender_.Push(std::move(message));
  if (sender_.queued_bytes() > state_->options.send_queue_bytes_max) {
    Close(Error(Errc::kDisconnected,
                peer_ + " does not read: " + std::to_string(sender_.queued_bytes()) +
                    " bytes are queued for it"));
    return;
  }
  if (!send_pending_) ScheduleFlush();
}

void TcpConnection::ScheduleFlush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  state_->uring->AtTurnEnd(this);
}

void TcpConnection::OnTurnEnd() {
  flush_scheduled_ = false;
  if (phase_ != Phase::kOpen || send_pending_) return;
  msghdr* const message = sender_.Prepare();
  if (message == nullptr) return;
  const size_t bytes = sender_.prepared_bytes();
  io_uring_sqe* sqe = state_->uring->NextSqe();
  // The shard sleeps on after it has woken the peer, which so finds the core free. What is large
  // is given back at once instead, and what goes on behind it is not to wait.
  const bool quietly = !send_waits_ && bytes == sender_.queued_bytes() &&
                       bytes <= kQuietBytesMax && state_->uring->quiet_successes();
  const int flags = MSG_NOSIGNAL | MSG_WAITALL | (quietly ? MSG_DONTWAIT : 0);
  io_uring_prep_sendmsg(sqe, fd_, message, static_cast<unsigned>(flags));
  if (quietly) {
    state_->uring->AttachQuietly(sqe, &send_hook_, static_cast<int32_t>(bytes));
  } else {
    io::UringPoller::Attach(sqe, &send_hook_);
  }
  send_pending_ = true;
  send_waits_ = quietly;  // until it is known that it did not fail
}

void TcpConnection::OnSent(int32_t result, uint32_t) {
  send_pending_ = false;
  if (phase_ != Phase::kOpen) {
    MaybeFinish();
    return;
  }
  if (result > 0 && static_cast<size_t>(result) == sender_.prepared_bytes()) send_waits_ = false;
  if (result > 0) sender_.Advance(static_cast<size_t>(result));
  if (result < 0 && !IsTransient(result)) {
    // A peer that ended the connection may have said why: that is read first, and then the end
    // of the stream closes the link.
    const bool peer_ended = result == -EPIPE || result == -ECONNRESET;
    send_broken_ = true;
    sender_.Clear();
    if (peer_ended && receive_pending_) return;
    Close(Error(Errc::kDisconnected, "send to " + peer_ + ": " + std::strerror(-result)));
    return;
  }
  if (!sender_.empty()) ScheduleFlush();
}

void TcpConnection::ArmReceive() {
  if (phase_ != Phase::kOpen || !receiving_) return;
  const FrameReader::Target target = reader_.Next();
  io_uring_sqe* sqe = state_->uring->NextSqe();
  io_uring_prep_recv(sqe, fd_, target.span.data(), target.span.size(),
                     target.fill ? MSG_WAITALL : 0);
  // The socket was drained: wait first instead of a receive that finds nothing.
  if (!socket_nonempty_) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  io::UringPoller::Attach(sqe, &receive_hook_);
  receive_pending_ = true;
}

void TcpConnection::OnReceived(int32_t result, uint32_t flags) {
  const std::shared_ptr<TcpConnection> self = shared_from_this();
  receive_pending_ = false;
  if (phase_ != Phase::kOpen) {
    MaybeFinish();
    return;
  }
  if (IsTransient(result)) {
    ArmReceive();
    return;
  }
  if (result <= 0) {
    ReceiveFailed(result);
    return;
  }
  socket_nonempty_ = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
  reader_.Received(static_cast<size_t>(result));
  Deliver();
}

void TcpConnection::ReceiveFailed(int32_t result) {
  std::string text;
  if (result < 0) {
    text = "receive from " + peer_ + ": " + std::strerror(-result);
  } else if (reader_.mid_frame()) {
    text = peer_ + " closed the connection inside a frame";
  } else {
    text = peer_ + " closed the connection";
  }
  Close(Error(Errc::kDisconnected, std::move(text)));
}

void TcpConnection::Deliver() {
  if (delivering_ || receive_pending_ || handler_ == nullptr) return;
  delivering_ = true;
  while (phase_ == Phase::kOpen && receiving_) {
    Result<bool> complete = reader_.Step(handler_);
    if (!complete) {
      Close(Annotate(std::move(complete).error(), peer_ + ": "));
      break;
    }
    if (!*complete) {
      ArmReceive();
      break;
    }
    handler_->OnMessage(reader_.Take());
  }
  delivering_ = false;
}

void TcpConnection::SetReceiving(bool receiving) {
  receiving_ = receiving;
  if (!receiving || phase_ != Phase::kOpen) return;
  if (receive_pending_ || delivering_ || deliver_posted_) return;
  deliver_posted_ = true;
  state_->shard->Post([self = shared_from_this()] {
    self->deliver_posted_ = false;
    self->Deliver();
  });
}

void TcpConnection::Detach() {
  handler_ = nullptr;
  told_closed_ = true;
  Close(Error(Errc::kCancelled, "the link was dropped"));
}

void TcpConnection::Close(Error reason) {
  if (phase_ != Phase::kOpen) return;
  phase_ = Phase::kClosing;
  reason_ = std::move(reason);
  if (IsBadFrame(reason_.code())) {
    SHEEN_LOG(Warn, "connection closed: {}", reason_.ToString());
  }
  if (flush_scheduled_) state_->uring->ForgetTurnEnd(this);
  flush_scheduled_ = false;
  SendLastWords();
  // Shutdown ends what the kernel waits for; the cancellations make sure of it.
  (void)shutdown(fd_, SHUT_RDWR);
  if (receive_pending_) state_->uring->Cancel(&receive_hook_);
  if (send_pending_) state_->uring->Cancel(&send_hook_);
  MaybeFinish();
}

// Frames queued in this turn (the reason of a refusal, typically) go out if the socket takes them
// at once; nothing waits for them.
void TcpConnection::SendLastWords() {
  if (send_pending_ || send_broken_) return;
  const msghdr* const message = sender_.Prepare();
  if (message != nullptr) (void)sendmsg(fd_, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void TcpConnection::MaybeFinish() {
  if (phase_ != Phase::kClosing || receive_pending_ || send_pending_ || finish_posted_) return;
  finish_posted_ = true;
  state_->shard->Post([self = shared_from_this()] { self->Finish(); });
}

void TcpConnection::Finish() {
  phase_ = Phase::kClosed;
  close(fd_);
  sender_.Clear();
  --state_->connection_count;
  if (accepted_) --state_->accepted_count;
  keep_.reset();
  TellClosed();
  state_->Remove(this);
}

void TcpConnection::TellClosed() {
  if (told_closed_ || handler_ == nullptr) return;
  told_closed_ = true;
  std::exchange(handler_, nullptr)->OnClosed(reason_);
}

}  // namespace sheen::rpc
