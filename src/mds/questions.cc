#include "mds/questions.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "async/sync.h"
#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

constexpr Nanos kRetry = std::chrono::milliseconds(200);
// An agent that has tried for as long as it may knows the reason: that is waited for.
constexpr Nanos kReasonWait = std::chrono::seconds(5);
// Nobody but root, as long as S3 has no say.
constexpr uint32_t kModeWithoutLink = 0600;
constexpr uint32_t kModeOfDirectory = 0700;

}  // namespace

// Until another's question has ended, or for so long.
struct Questions::WaitFor {
  Questions* questions;
  AskedPointer asked;
  Nanos until;

  struct Sleeper {
    std::coroutine_handle<> caller;
  };
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* const shard = async::Shard::Current();
    // On this shard alone.
    const auto sleeper = std::make_shared<Sleeper>(Sleeper{caller});
    const auto wake = [sleeper] {
      if (sleeper->caller) std::exchange(sleeper->caller, nullptr).resume();
    };
    {
      const std::scoped_lock lock(questions->mutex_);
      if (asked->over) return false;
      asked->waiters.push_back([shard, wake] { shard->Post(wake); });
    }
    shard->AddTimer(until, wake);
    return true;
  }
  void await_resume() const noexcept {}
};

void Questions::Stop() {
  const std::scoped_lock lock(mutex_);
  stopping_ = true;
}

bool Questions::IsUp(const std::string& agent) const {
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return false;
  }
  return std::ranges::any_of(agents_(), [&agent](const auto& one) { return one.name() == agent; });
}

// A few hundred names together: an agent answers them when it has heard of the last.
Questions::Order& Questions::OrderFor(uint32_t link, std::vector<Order>* orders) {
  constexpr size_t kTogether = 256;
  const auto fits = [link](const Order& one) {
    return one.link == link && one.names.size() < kTogether;
  };
  const auto found = std::ranges::find_if(*orders, fits);
  if (found != orders->end()) return *found;
  orders->push_back(Order{.link = link});
  return orders->back();
}

async::Task<Status> Questions::Ask(Unasked unasked) {
  const bool listing = unasked.may_leave_out;
  const Nanos until = core_->Now() + (listing ? kListingPatience : kPatience);
  std::vector<Order> orders;
  std::vector<AskedPointer> others;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) co_return Fail(Errc::kUnavailable, "the server is stopping");
    for (Unasked::Name& name : unasked.names) {
      AskedPointer& asked = asking_[name.fid];
      if (asked != nullptr) {
        others.push_back(asked);
        continue;
      }
      asked = std::make_shared<Asked>(Asked{.listing = listing});
      Order& order = OrderFor(name.link, &orders);
      order.asked.push_back(asked);
      order.names.push_back(std::move(name));
    }
  }
  std::vector<async::Task<Status>> tasks;
  for (Order& order : orders) {
    order.until = until;
    order.listing = listing;
    tasks.push_back(AskOne(std::move(order)));
  }
  Status out;
  for (const Status& one : co_await async::WhenAll(std::move(tasks))) {
    if (!one && out) out = one;
  }
  for (const AskedPointer& asked : others) {
    co_await WaitFor{this, asked, until};
    const std::scoped_lock lock(mutex_);
    // After a listing's failure this one looks again, and asks itself then.
    const bool shared = asked->over && !asked->listing;
    if (shared && !asked->result && out) out = asked->result;
    if (!asked->over && out) out = Fail(Errc::kIo, "S3 has not answered yet");
  }
  co_return out;
}

async::Task<Status> Questions::AskOne(Order order) {
  std::vector<Status> results(order.names.size());
  const Status all = co_await AskAgents(&order, &results);
  if (!all && !order.listing) {
    SHEEN_LOG(Warn, "'{}' of data repository {} cannot be shown: {}", order.names[0].key,
              order.link, all.error().ToString());
  }
  std::vector<std::function<void()>> waiters;
  Status first = all;
  {
    const std::scoped_lock lock(mutex_);
    for (size_t i = 0; i < order.names.size(); ++i) {
      if (first && !results[i]) first = results[i];
      order.asked[i]->result = all ? results[i] : all;
      asking_.erase(order.names[i].fid);
      order.asked[i]->over = true;
      std::ranges::move(order.asked[i]->waiters, std::back_inserter(waiters));
    }
  }
  for (const auto& wake : waiters) wake();
  co_return first;
}

async::Task<Result<v1::Repository>> Questions::LinkOf(uint32_t id) {
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &mds::ListRepositories, {}));
  v1::ListRepositoriesReply all;
  if (!all.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad list");
  for (const v1::Repository& one : all.repositories()) {
    if (one.id() == id) co_return one;
  }
  co_return Fail(Errc::kNoEntry, fmt::format("data repository {} is not linked any more", id));
}

async::Task<Status> Questions::AskAgents(Order* order, std::vector<Status>* results) {
  const Result<v1::Repository> link = co_await LinkOf(order->link);
  if (!link && link.error().code() == Errc::kNoEntry) {
    co_return co_await FinishWithoutLink(order, results);
  }
  if (!link) co_return std::unexpected(link.error());
  SHEEN_CO_TRY_ASSIGN(const v1::AskObjectsReply reply, co_await CallSome(order));
  for (size_t i = 0; i < order->names.size(); ++i) {
    const v1::ObjectAnswer& answer = reply.answers(static_cast<int>(i));
    if (!answer.error().empty()) {
      (*results)[i] = Fail(Errc::kIo, fmt::format("S3 does not say who owns '{}': {}",
                                                  order->names[i].key, answer.error()));
      if (!order->listing) SHEEN_LOG(Warn, "{}", (*results)[i].error().message());
      continue;
    }
    (*results)[i] = co_await Finish(*link, order->names[i], answer);
  }
  co_return Status();
}

async::Task<Status> Questions::FinishWithoutLink(Order* order, std::vector<Status>* results) {
  v1::Repository link;
  link.set_id(order->link);
  link.set_chunk_bytes(1);  // no layout is made
  for (size_t i = 0; i < order->names.size(); ++i) {
    const bool directory = order->names[i].key.ends_with('/');
    v1::ObjectAnswer answer;
    answer.mutable_entry()->set_mode(directory ? S_IFDIR | kModeOfDirectory
                                               : S_IFREG | kModeWithoutLink);
    (*results)[i] = co_await Finish(link, order->names[i], std::move(answer));
  }
  co_return Status();
}

async::Task<Result<v1::AskObjectsReply>> Questions::CallSome(const Order* order) {
  v1::AskObjectsRequest request;
  request.set_repository(order->link);
  for (const Unasked::Name& name : order->names) request.add_keys(name.key);
  const Nanos reason = order->until + (order->listing ? Nanos(0) : kReasonWait);
  Error last(Errc::kUnavailable, "no agent is up; start sheen-agent");
  rpc::AgentCalls* const calls = core_->options.agents;
  for (;;) {
    const std::vector<v1::AgentEntry> agents = agents_();
    v1::AgentEntry agent;
    {
      const std::scoped_lock lock(mutex_);
      if (stopping_) co_return Fail(Errc::kUnavailable, "the server is stopping");
      if (!agents.empty()) agent = agents[next_agent_++ % agents.size()];
    }
    if (calls != nullptr && !agents.empty()) {
      std::function<bool()> wanted = [this, reason, name = agent.name()] {
        return core_->Now() < reason && IsUp(name);
      };
      Result<v1::AskObjectsReply> reply =
          co_await calls->AskObjects(std::move(agent), request, std::move(wanted));
      if (reply && static_cast<size_t>(reply->answers_size()) == order->names.size()) {
        co_return reply;
      }
      last = reply ? Error(Errc::kProtocol, "the agent's answer is not one for each key")
                   : reply.error();
    }
    if (core_->Now() >= order->until) {
      co_return Fail(Errc::kIo, "S3 was not asked who owns it: " + last.ToString());
    }
    co_await async::Shard::Current()->Sleep(kRetry);
  }
}

async::Task<Status> Questions::Finish(v1::Repository link, Unasked::Name name,
                                      v1::ObjectAnswer answer) {
  v1::FinishOrder order;
  order.set_repository(link.id());
  order.set_chunk_bytes(link.chunk_bytes());
  SetFid(name.fid, order.mutable_answer()->mutable_fid());
  order.mutable_answer()->set_key(name.key);
  *order.mutable_answer()->mutable_answer() = std::move(answer);
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &FinishPending, order.SerializeAsString()));
  v1::ImportOutcome outcome;
  if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  if (outcome.what() == v1::IMPORT_SKIPPED) {
    co_return Fail(Errc::kNoEntry, fmt::format("'{}' is gone from S3", name.key));
  }
  co_return Status();
}

}  // namespace sheen::mds
