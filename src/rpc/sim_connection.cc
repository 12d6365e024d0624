#include "rpc/sim_connection.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"

namespace sheen::rpc {

SimConnection::SimConnection(SimNetwork* network, std::string connecting_node,
                             std::string accepting_node)
    : network_(network) {
  ends_[0].peer_name = network_->PeerName(accepting_node);
  ends_[1].peer_name = network_->PeerName(connecting_node);
  ends_[0].node = std::move(connecting_node);
  ends_[1].node = std::move(accepting_node);
}

void SimConnection::SetHandler(size_t end, LinkHandler* handler) {
  ends_[end].handler = handler;
  WakeAt(end, network_->shard()->Now());
}

void SimConnection::SetReceiving(size_t end, bool receiving) {
  ends_[end].receiving = receiving;
  if (receiving) WakeAt(end, network_->shard()->Now());
}

void SimConnection::Send(size_t from, Message message) {
  if (broken_ || ends_[from].closed) return;
  const ByteSpan bulk = message.bulk_bytes();
  FrameHeader& header = message.header;
  header.body_bytes = static_cast<uint32_t>(message.body.size());
  header.bulk_bytes = static_cast<uint32_t>(bulk.size());
  header.flags &= static_cast<uint16_t>(~kFromServer);
  if (from == 1) header.flags |= kFromServer;
  header.body_crc = (header.flags & kBodyCrc) != 0 ? Crc32c(AsBytes(message.body)) : 0;
  header.bulk_crc = (header.flags & kBulkCrc) != 0 ? Crc32c(bulk) : 0;
  Frame frame;
  frame.header = EncodeHeader(header);
  frame.body = std::move(message.body);
  if (!bulk.empty()) {
    frame.bulk = io::Buffer::Allocate(bulk.size());
    std::memcpy(frame.bulk.data(), bulk.data(), bulk.size());
  }
  Queue(1 - from, std::move(frame));
  const uint64_t break_one_in = network_->options_.break_one_in;
  if (break_one_in == 0 || !network_->random_.OneIn(break_one_in)) return;
  network_->shard()->AddTimer(network_->shard()->Now() + network_->Delay(),
                              [weak = weak_from_this()] {
                                if (const auto self = weak.lock()) self->Break("reset by chance");
                              });
}

void SimConnection::Queue(size_t to, Frame frame) {
  End& end = ends_[to];
  frame.arrival = std::max(end.last_arrival, network_->shard()->Now() + network_->Delay());
  end.last_arrival = frame.arrival;
  const Nanos arrival = frame.arrival;
  end.inbox_bytes += frame.bytes();
  end.inbox.push_back(std::move(frame));
  WakeAt(to, arrival);
}

void SimConnection::ClearInbox(size_t end) {
  ends_[end].inbox.clear();
  ends_[end].inbox_bytes = 0;
}

void SimConnection::WakeAt(size_t end, Nanos when) {
  network_->shard()->AddTimer(when, [weak = weak_from_this(), end] {
    if (const auto self = weak.lock()) self->Deliver(end);
  });
}

void SimConnection::Deliver(size_t index) {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  End& end = ends_[index];
  if (!FinishPartial(index)) return;
  while (!end.inbox.empty() && !broken_ && !end.closed && end.receiving && !end.partial) {
    if (end.handler == nullptr || end.inbox.front().arrival > network_->shard()->Now()) return;
    if (network_->Cut(ends_[1 - index].node, end.node)) return;
    Frame frame = std::move(end.inbox.front());
    end.inbox.pop_front();
    end.inbox_bytes -= frame.bytes();
    if (frame.fin) {
      end.closed = true;
      TellClosed(index, Error(Errc::kDisconnected, "the peer closed the connection"));
      return;
    }
    DeliverFrame(index, std::move(frame));
  }
}

// False: the sink is still being filled.
bool SimConnection::FinishPartial(size_t index) {
  End& end = ends_[index];
  if (!end.partial) return true;
  if (end.closed || broken_) {
    end.partial.reset();
    return true;
  }
  if (end.partial->done > network_->shard()->Now()) return false;
  Receiving partial = std::move(*end.partial);
  end.partial.reset();
  std::memcpy(partial.sink.data(), partial.bulk.data(), partial.bulk.size());
  partial.message.bulk_view = partial.sink.first(partial.bulk.size());
  network_->NoteDelivered(end.node, partial.message.header);
  end.handler->OnMessage(std::move(partial.message));
  return true;
}

void SimConnection::DeliverFrame(size_t index, Frame frame) {
  End& end = ends_[index];
  Result<Message> decoded = Decode(end, frame, index == 0);
  if (!decoded) {
    Close(index, decoded.error());
    return;
  }
  if (!frame.bulk.empty()) {
    const MutableByteSpan sink = end.handler->SinkFor(decoded->header);
    if (sink.size() >= frame.bulk.size()) {
      // Half of it now, all of it later.
      std::memcpy(sink.data(), frame.bulk.data(), frame.bulk.size() / 2);
      const Nanos done = network_->shard()->Now() + network_->Delay();
      end.partial = Receiving{std::move(*decoded), std::move(frame.bulk), sink, done};
      WakeAt(index, done);
      return;
    }
    decoded->bulk = std::move(frame.bulk);
  }
  network_->NoteDelivered(end.node, decoded->header);
  end.handler->OnMessage(std::move(*decoded));
}

Result<Message> SimConnection::Decode(const End& end, const Frame& frame, bool from_server) const {
  Message message;
  SHEEN_TRY_ASSIGN(message.header, DecodeHeader(frame.header));
  const FrameHeader& header = message.header;
  if (((header.flags & kFromServer) != 0) != from_server) {
    return Fail(Errc::kProtocol, "frame: the wrong side speaks");
  }
  if (!end.established && (header.body_bytes > kHelloBodyBytesMax || header.bulk_bytes > 0)) {
    return Fail(Errc::kProtocol, "frame: too large before a session exists");
  }
  if ((header.flags & kBodyCrc) != 0 && header.body_crc != Crc32c(AsBytes(frame.body))) {
    return Fail(Errc::kCorrupt, "frame: body_crc is wrong");
  }
  if ((header.flags & kBulkCrc) != 0 && header.bulk_crc != Crc32c(frame.bulk.span())) {
    return Fail(Errc::kCorrupt, "frame: bulk_crc is wrong");
  }
  message.body = frame.body;
  return message;
}

void SimConnection::Close(size_t index, Error reason) {
  End& end = ends_[index];
  if (broken_ || end.closed) return;
  end.closed = true;
  ClearInbox(index);
  Queue(1 - index, Frame{.fin = true});
  TellClosed(index, std::move(reason));
}

void SimConnection::LinkDestroyed(size_t index) {
  End& end = ends_[index];
  end.link = nullptr;
  end.handler = nullptr;
  end.partial.reset();
  if (broken_ || end.closed) return;
  end.closed = true;
  ClearInbox(index);
  Queue(1 - index, Frame{.fin = true});
}

void SimConnection::Break(const std::string& why) {
  if (broken_) return;
  broken_ = true;
  ++network_->connections_broken_;
  for (size_t index = 0; index < ends_.size(); ++index) {
    ClearInbox(index);
    if (std::exchange(ends_[index].closed, true)) continue;  // has been told
    TellClosed(index, Error(Errc::kDisconnected, "connection lost: " + why));
  }
}

void SimConnection::Resume() {
  for (size_t index = 0; index < ends_.size(); ++index) WakeAt(index, network_->shard()->Now());
}

void SimConnection::TellClosed(size_t index, Error reason) {
  network_->shard()->Post([self = shared_from_this(), index, reason = std::move(reason)] {
    End& end = self->ends_[index];
    end.partial.reset();
    LinkHandler* const handler = std::exchange(end.handler, nullptr);
    if (end.link != nullptr && handler != nullptr) handler->OnClosed(reason);
  });
}

}  // namespace sheen::rpc
