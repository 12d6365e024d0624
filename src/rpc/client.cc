#include "rpc/client.h"

#include "rpc/client_state.h"

namespace sheen::rpc {

Client::Client(async::Shard* shard, Transport* transport, ClientIdentity* identity,
               ClientOptions options)
    : state_(std::make_shared<State>(shard, transport, identity, std::move(options))) {}

Client::~Client() { state_->Detach(); }

async::Task<Result<Answer>> Client::Execute(Call call) {
  return state_->Execute(state_, std::move(call));
}

async::Task<Status> Client::Connect(Nanos deadline) { return state_->Connect(state_, deadline); }

async::Task<void> Client::Stop(Nanos timeout, bool goodbye) {
  return state_->Stop(state_, timeout, goodbye);
}

void Client::Cancel(uint64_t ticket) {
  // The resumed caller may destroy this Client.
  const std::shared_ptr<State> state = state_;
  state->Cancel(ticket);
}

void Client::RenewSession(const Error& lost) {
  const std::shared_ptr<State> state = state_;
  state->RenewSession(lost);
}

void Client::OnServerRequest(ServerRequestFunction function) {
  state_->OnServerRequest(std::move(function));
}

void Client::OnReconnect(ReconnectFunction function) { state_->OnReconnect(std::move(function)); }

void Client::OnLateAnswer(LateAnswerFunction function) {
  state_->OnLateAnswer(std::move(function));
}

void Client::SetAddresses(std::vector<Address> addresses) {
  state_->SetAddresses(std::move(addresses));
}

bool Client::connected() const { return state_->ready(); }

bool Client::linked() const { return state_->linked(); }

uint64_t Client::server_boot() const { return state_->server_boot(); }

void Client::EndConnection(std::string reason) {
  const std::shared_ptr<State> state = state_;
  state->EndConnection(std::move(reason));
}

void Client::StillRecovering() { state_->StillRecovering(); }

void Client::ReplayDone() { state_->ReplayDone(); }

bool Client::EndEarlierBoot(uint64_t boot) {
  const std::shared_ptr<State> state = state_;
  return state->EndEarlierBoot(boot);
}

const std::string& Client::server_name() const { return state_->options().server_name; }

uint64_t Client::last_committed() const { return state_->last_committed(); }

LinkLook Client::Look() const { return state_->Look(); }

}  // namespace sheen::rpc
