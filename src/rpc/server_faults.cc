// What a server's connection does at its fault points (fault_points.h).
#include <cstring>
#include <memory>
#include <utility>

#include "rpc/server_connection.h"

namespace sheen::rpc {
namespace {

constexpr char kEnds[] = "a fault point ends the connection";

Message CopyOf(const Message& message) {
  Message copy;
  copy.header = message.header;
  copy.body = message.body;
  const ByteSpan bulk = message.bulk_bytes();
  if (!bulk.empty()) {
    copy.bulk = io::Buffer::Allocate(bulk.size());
    std::memcpy(copy.bulk.data(), bulk.data(), bulk.size());
  }
  return copy;
}

}  // namespace

std::optional<FaultOrder> Server::Connection::HitFault(FaultStep step, Opcode opcode) const {
  FaultPoints* const faults = server_->options.faults;
  return faults == nullptr ? std::nullopt : faults->Hit(step, opcode);
}

void Server::Connection::After(uint64_t delay_ms, std::function<void(Connection*)> then) {
  const Nanos at = server_->shard->Now() + std::chrono::milliseconds(delay_ms);
  server_->shard->AddTimer(at, [weak = weak_from_this(), then = std::move(then)] {
    const auto self = weak.lock();
    if (self != nullptr && self->phase_ == Phase::kEstablished) then(self.get());
  });
}

void Server::Connection::MeetReceived(Message message, FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    const auto kept = std::make_shared<Message>(std::move(message));
    After(fault.delay_ms, [kept](Connection* self) { self->Receive(std::move(*kept)); });
    return;
  }
  if (fault.action == FaultAction::kError) {
    ReplyError(message.header, Errc::kUnavailable, "a fault point refuses it");
    return;
  }
  if (fault.action != FaultAction::kDuplicate) {
    Close(Errc::kDisconnected, kEnds);
    return;
  }
  Message again = CopyOf(message);
  again.header.flags |= kResend;
  Receive(std::move(message));
  Receive(std::move(again));
}

async::Task<bool> Server::Connection::MeetRunning(std::shared_ptr<Connection> self,
                                                  FaultOrder fault, FrameHeader header) {
  switch (fault.action) {
    case FaultAction::kDelay:
      co_await self->server_->shard->Sleep(std::chrono::milliseconds(fault.delay_ms));
      co_return true;
    case FaultAction::kDuplicate:
      co_return true;
    case FaultAction::kError:
      self->ReplyError(header, Errc::kUnavailable, "a fault point refuses it");
      co_return false;
    default:
      self->Close(Errc::kDisconnected, kEnds);
      co_return false;
  }
}

void Server::Connection::MeetAsking(Opcode opcode, std::string body, uint64_t xid,
                                    FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    After(fault.delay_ms, [opcode, body = std::move(body), xid](Connection* self) {
      self->SendRequest(opcode, body, xid);
    });
  } else if (fault.action == FaultAction::kDuplicate) {
    SendRequest(opcode, body, xid);
    SendRequest(opcode, body, xid);
  } else {
    Close(Errc::kDisconnected, kEnds);
  }
}

void Server::Connection::MeetHeard(uint64_t xid, FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    After(fault.delay_ms, [xid](Connection* self) { self->TakeAnswer(xid); });
  } else {
    Close(Errc::kDisconnected, kEnds);
  }
}

}  // namespace sheen::rpc
