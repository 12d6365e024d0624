#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "rpc/address.h"
#include "rpc/server_connection.h"

namespace sheen::rpc {
namespace {

// A refused client has so long to read why and to close.
constexpr Nanos kRefusedLinger = std::chrono::seconds(1);
constexpr size_t kUuidBytes = 16;
// A client has few targets on one server; the body limit of a hello is 4 KiB anyway.
constexpr int kCommittedSeenMax = 256;

// Takes the same time wherever the first difference is.
bool SameSecret(const std::array<uint8_t, 16>& secret, const std::string& proof) {
  if (proof.size() != secret.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < secret.size(); ++i) {
    difference |= static_cast<uint8_t>(secret[i] ^ static_cast<uint8_t>(proof[i]));
  }
  return difference == 0;
}

Uuid UuidOf(const std::string& bytes) {
  Uuid uuid;
  std::copy_n(bytes.begin(), uuid.bytes.size(), uuid.bytes.begin());
  return uuid;
}

}  // namespace

Status Server::Connection::CheckHello(const v1::Hello& hello) const {
  const ServerIdentity& identity = server_->sessions->identity();
  if (hello.version_oldest() > kProtocolVersion ||
      hello.version_newest() < kProtocolVersionOldest) {
    return Fail(Errc::kBadVersion,
                "client speaks protocol versions " + std::to_string(hello.version_oldest()) +
                    " to " + std::to_string(hello.version_newest()) + ", " + identity.server_name +
                    " " + std::to_string(kProtocolVersionOldest) + " to " +
                    std::to_string(kProtocolVersion) + ": upgrade the older side");
  }
  if (hello.client_uuid().size() != kUuidBytes || UuidOf(hello.client_uuid()).empty()) {
    return Fail(Errc::kProtocol, "hello has no client UUID of 16 bytes");
  }
  if (hello.fsname() != identity.fsname) {
    return Fail(Errc::kWrongFilesystem, "this server is of filesystem '" + identity.fsname +
                                            "', not '" + hello.fsname() +
                                            "': check the mount's address and fsname");
  }
  if (!hello.server_name().empty() && hello.server_name() != identity.server_name) {
    return Fail(Errc::kNotThisServer, "this is " + identity.server_name + ", not " +
                                          hello.server_name() + ": the cluster map is out of date");
  }
  if (hello.committed_seen_size() > kCommittedSeenMax) {
    return Fail(Errc::kProtocol, "hello names too many targets");
  }
  for (const v1::TargetCommit& seen : hello.committed_seen()) {
    Status checked = server_->service->CheckCommitted(seen.target(), seen.transno());
    if (!checked) return checked;
  }
  return {};
}

// The session the client proves to be its own; nullptr: it asked for none or its is not known.
Result<std::shared_ptr<Session>> Server::Connection::FindSession(const v1::Hello& hello) const {
  if (hello.session_id() == 0) return std::shared_ptr<Session>();
  std::shared_ptr<Session> session = server_->sessions->Find(hello.session_id());
  if (session == nullptr) return session;
  if (session->client_uuid() != UuidOf(hello.client_uuid()) ||
      !SameSecret(session->secret(), hello.session_secret())) {
    return Fail(Errc::kAccess, "the session was given to another client, or the proof is wrong");
  }
  return session;
}

async::Task<Result<std::shared_ptr<Session>>> Server::Connection::NewSession(
    std::shared_ptr<Connection> self, Uuid client) {
  SessionTable* const table = self->server_->sessions;
  uint64_t id = table->NextId();
  while (id == 0 || table->Find(id) != nullptr) id = table->NextId();
  std::array<uint8_t, 16> secret{};
  const std::array<uint64_t, 2> random = {RandomU64(), RandomU64()};
  std::memcpy(secret.data(), random.data(), secret.size());
  if (table->store() != nullptr) {
    SHEEN_CO_TRY(co_await table->store()->Save(id, client, secret));
  }
  auto session = std::make_shared<Session>(id, client, secret);
  table->Insert(session);
  co_return session;
}

async::Task<void> Server::Connection::Handshake(std::shared_ptr<Connection> self, Message message) {
  v1::Hello hello;
  if (!hello.ParseFromString(message.body)) {
    self->Refuse(message.header, Error(Errc::kProtocol, "hello cannot be read"));
    co_return;
  }
  if (const Status checked = self->CheckHello(hello); !checked) {
    self->Refuse(message.header, checked.error());
    co_return;
  }
  Result<std::shared_ptr<Session>> found = self->FindSession(hello);
  if (!found) {
    self->Refuse(message.header, found.error());
    co_return;
  }
  const bool resumed = *found != nullptr;
  if (!resumed) {
    found = co_await NewSession(self, UuidOf(hello.client_uuid()));
    if (!found) {
      self->Refuse(message.header, Annotate(found.error(), "the session cannot be kept: "));
      co_return;
    }
  }
  SessionStore* const store = self->server_->sessions->store();
  if (resumed && store != nullptr) {
    const Status noted = co_await store->Resumed((*found)->id());
    if (!noted) {
      self->Refuse(message.header, Annotate(noted.error(), "the session cannot be kept: "));
      co_return;
    }
  }
  if (self->phase_ != Phase::kHandshaking) co_return;  // the link ended meanwhile
  self->Establish(hello, std::move(*found), resumed, message.header);
}

void Server::Connection::Establish(const v1::Hello& hello, std::shared_ptr<Session> session,
                                   bool resumed, const FrameHeader& header) {
  const ServerIdentity& identity = server_->sessions->identity();
  session_ = std::move(session);
  client_name_ = hello.client_name().empty() ? peer_ : hello.client_name();
  session_->SetClientName(client_name_);
  session_->SetAddress(HostOfPeer(peer_));
  phase_ = Phase::kEstablished;
  server_->shard->CancelTimer(phase_timer_);
  phase_timer_set_ = false;
  in_session_ = true;
  session_->link_count.fetch_add(1);
  session_->last_heard_ns.store(server_->shard->Now().count());
  session_->AddLink(hello.link(), tracker_,
                    [shard = server_->shard, weak = weak_from_this()] {
                      shard->Post([weak] {
                        const auto self = weak.lock();
                        if (self != nullptr) {
                          self->Close(Errc::kDisconnected, "its client has connected anew");
                        }
                      });
                    });
  connection_peer_ = std::make_shared<ConnectionPeer>(this, session_->id(),
                                                      identity.features & hello.features());
  link_->SetEstablished();

  v1::HelloReply reply;
  reply.set_version(std::min<uint32_t>(kProtocolVersion, hello.version_newest()));
  reply.set_features(identity.features & hello.features());
  reply.set_session_id(session_->id());
  if (!resumed) reply.set_session_secret(session_->secret().data(), session_->secret().size());
  reply.set_server_boot(identity.boot);
  reply.set_recovered_transno(identity.recovered_transno);
  reply.set_server_name(identity.server_name);
  reply.set_session_resumed(resumed);
  ReplyTo(header, {.body = reply.SerializeAsString()});
  SHEEN_LOG(Info, "{}: client {} ({}) connected from {}, session {:x} {}", identity.server_name,
            client_name_, session_->client_uuid().ToString(), peer_, session_->id(),
            resumed ? "resumed" : "new");
}

void Server::Connection::Refuse(const FrameHeader& header, const Error& error) {
  if (phase_ != Phase::kHandshaking) return;
  SHEEN_LOG(Warn, "{}: client at {} refused: {}", server_->sessions->identity().server_name, peer_,
            error.ToString());
  phase_ = Phase::kRefused;
  ReplyError(header, error.code(), error.message());
  server_->shard->CancelTimer(phase_timer_);
  phase_timer_ =
      server_->shard->AddTimer(server_->shard->Now() + kRefusedLinger, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->Close(Errc::kCancelled, "refused");
      });
}

}  // namespace sheen::rpc
