// Inside of the simulated network: one connection, its two ends and the frames under way.
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "rpc/sim_transport.h"

namespace sheen::rpc {

class SimLink;

class SimConnection final : public std::enable_shared_from_this<SimConnection> {
 public:
  // End 0 connected, end 1 accepted.
  SimConnection(SimNetwork* network, std::string connecting_node, std::string accepting_node);

  const std::string& node(size_t end) const { return ends_[end].node; }
  const std::string& peer_name(size_t end) const { return ends_[end].peer_name; }
  bool broken() const { return broken_; }

  void SetLink(size_t end, SimLink* link) { ends_[end].link = link; }
  void SetHandler(size_t end, LinkHandler* handler);
  void SetEstablished(size_t end) { ends_[end].established = true; }
  void SetReceiving(size_t end, bool receiving);
  void Send(size_t from, Message message);
  // This end's handler hears in a later turn, the other's when the news arrives.
  void Close(size_t end, Error reason);
  // The link object of the end is gone; as Close, without telling its handler.
  void LinkDestroyed(size_t end);
  size_t unarrived_bytes(size_t from) const { return ends_[1 - from].inbox_bytes; }

  // Both ends lose the connection; what has not arrived is lost.
  void Break(const std::string& why);
  // Frames that waited for a partition to heal.
  void Resume();

 private:
  struct Frame {
    HeaderBytes header{};
    std::string body;
    io::Buffer bulk;
    Nanos arrival{0};
    bool fin = false;  // the sender closed: nothing comes after
    size_t bytes() const { return kHeaderBytes + body.size() + bulk.size(); }
  };
  // A frame whose bulk is partly in the handler's sink.
  struct Receiving {
    Message message;
    io::Buffer bulk;
    MutableByteSpan sink;
    Nanos done{0};
  };
  struct End {
    std::string node;
    std::string peer_name;
    SimLink* link = nullptr;
    LinkHandler* handler = nullptr;
    bool established = false;
    bool receiving = true;
    bool closed = false;
    std::deque<Frame> inbox;  // in order of arrival
    size_t inbox_bytes = 0;
    std::optional<Receiving> partial;
    Nanos last_arrival{0};
  };

  void Queue(size_t to, Frame frame);
  void ClearInbox(size_t end);
  void WakeAt(size_t end, Nanos when);
  void Deliver(size_t end);
  bool FinishPartial(size_t end);
  void DeliverFrame(size_t end, Frame frame);
  Result<Message> Decode(const End& end, const Frame& frame, bool from_server) const;
  void TellClosed(size_t end, Error reason);

  SimNetwork* const network_;
  std::array<End, 2> ends_;
  bool broken_ = false;
};

class SimLink final : public Link {
 public:
  SimLink(std::shared_ptr<SimConnection> connection, size_t end)
      : connection_(std::move(connection)), end_(end) {
    connection_->SetLink(end_, this);
  }
  ~SimLink() override { connection_->LinkDestroyed(end_); }
  void Send(Message message) override { connection_->Send(end_, std::move(message)); }
  void Close(Error reason) override { connection_->Close(end_, std::move(reason)); }
  const std::string& peer() const override { return connection_->peer_name(end_); }
  void SetHandler(LinkHandler* handler) override { connection_->SetHandler(end_, handler); }
  void SetEstablished() override { connection_->SetEstablished(end_); }
  size_t queued_bytes() const override { return connection_->unarrived_bytes(end_); }
  void SetReceiving(bool receiving) override { connection_->SetReceiving(end_, receiving); }

 private:
  const std::shared_ptr<SimConnection> connection_;
  const size_t end_;
};

}  // namespace sheen::rpc
