// TcpConnection: one socket of TcpTransport, from accept or connect to its last completion.
//
//   open --Close(), error, end of stream--> closing --last completion--> closed: OnClosed
//
// The Link that users hold is only a handle: a connection keeps itself alive until the kernel holds
// none of its buffers, so a Link may be destroyed at any time. Shard-confined.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "async/blocking_pool.h"
#include "async/shard.h"
#include "async/sync.h"
#include "io/uring.h"
#include "rpc/frame_reader.h"
#include "rpc/frame_sender.h"
#include "rpc/link.h"
#include "rpc/tcp_transport.h"

namespace sheen::rpc {

class TcpConnection;

// Something of the transport that Stop() has to end and wait for.
class TcpActivity {
 public:
  // May be called in any state, more than once.
  virtual void StopActivity() = 0;

 protected:
  ~TcpActivity() = default;
};

// What the connections, connects and listeners of one transport share; lives as long as any.
struct TcpState {
  async::Shard* shard;
  io::UringPoller* uring;
  async::BlockingPool* pool;
  TcpOptions options;
  bool stopping = false;
  uint32_t accepted_count = 0;
  size_t connection_count = 0;
  std::unordered_set<TcpActivity*> activities;
  async::WaitQueue idle;

  void Add(TcpActivity* activity) { activities.insert(activity); }
  void Remove(TcpActivity* activity) {
    activities.erase(activity);
    if (activities.empty()) idle.WakeAll(shard);
  }
};

class TcpConnection final : public std::enable_shared_from_this<TcpConnection>,
                            private TcpActivity,
                            private io::TurnEnd {
 public:
  struct Options {
    int fd = -1;
    bool accepted = false;  // else we connected
    std::string peer;
  };
  static std::shared_ptr<TcpConnection> Open(std::shared_ptr<TcpState> state, Options options);
  TcpConnection(std::shared_ptr<TcpState> state, Options options);
  ~TcpConnection();

  void Send(Message message);
  void Close(Error reason);
  // The Link is gone: no more calls to the handler.
  void Detach();
  void SetHandler(LinkHandler* handler);
  void SetEstablished() { reader_.SetEstablished(); }
  void SetReceiving(bool receiving);
  const std::string& peer() const { return peer_; }
  size_t queued_bytes() const { return sender_.queued_bytes(); }

 private:
  enum class Phase : uint8_t { kOpen, kClosing, kClosed };

  // Brings a completion to one of our member functions.
  class Hook final : public io::Completion {
   public:
    using Function = void (TcpConnection::*)(int32_t, uint32_t);
    Hook(TcpConnection* owner, Function function) : owner_(owner), function_(function) {}
    void Complete(int32_t result, uint32_t flags) override { (owner_->*function_)(result, flags); }

   private:
    TcpConnection* const owner_;
    const Function function_;
  };

  void StopActivity() override;
  void OnTurnEnd() override;
  void OnReceived(int32_t result, uint32_t flags);
  void OnSent(int32_t result, uint32_t flags);
  void ReceiveFailed(int32_t result);
  void Deliver();
  void ArmReceive();
  void ScheduleFlush();
  void SendLastWords();
  void MaybeFinish();
  void Finish();
  void TellClosed();

  const std::shared_ptr<TcpState> state_;
  const int fd_;
  const bool accepted_;
  const std::string peer_;
  std::shared_ptr<TcpConnection> keep_;  // ourselves, until closed
  LinkHandler* handler_ = nullptr;
  Phase phase_ = Phase::kOpen;
  Error reason_;
  bool told_closed_ = false;
  bool finish_posted_ = false;

  FrameReader reader_;
  Hook receive_hook_{this, &TcpConnection::OnReceived};
  bool receive_pending_ = false;
  bool receiving_ = true;    // what SetReceiving said
  bool delivering_ = false;  // Deliver() is on the stack
  bool deliver_posted_ = false;
  bool socket_nonempty_ = false;  // the last receive left bytes in the socket

  FrameSender sender_;
  Hook send_hook_{this, &TcpConnection::OnSent};
  bool send_pending_ = false;
  bool send_waits_ = false;  // the socket was full: the next send waits for room
  bool flush_scheduled_ = false;
  bool send_broken_ = false;  // the peer takes no more; its last words may still come
};

// The users' handle.
class TcpLink final : public Link {
 public:
  explicit TcpLink(std::shared_ptr<TcpConnection> connection)
      : connection_(std::move(connection)) {}
  ~TcpLink() override { connection_->Detach(); }

  void Send(Message message) override { connection_->Send(std::move(message)); }
  void Close(Error reason) override { connection_->Close(std::move(reason)); }
  const std::string& peer() const override { return connection_->peer(); }
  void SetHandler(LinkHandler* handler) override { connection_->SetHandler(handler); }
  void SetEstablished() override { connection_->SetEstablished(); }
  size_t queued_bytes() const override { return connection_->queued_bytes(); }
  void SetReceiving(bool receiving) override { connection_->SetReceiving(receiving); }

 private:
  const std::shared_ptr<TcpConnection> connection_;
};

}  // namespace sheen::rpc
