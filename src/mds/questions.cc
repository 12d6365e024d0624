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
// An agent answers what it has heard so long before, or after, nobody waits any more.
constexpr Nanos kListingMargin = std::chrono::milliseconds(300);
constexpr Nanos kReasonMargin = std::chrono::seconds(2);
constexpr Nanos kRecoveryLook = std::chrono::milliseconds(50);
constexpr Nanos kLogEvery = std::chrono::seconds(1);
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

// One of the calls of agents that may be under way. Leave() gives it back.
struct Questions::Place {
  Questions* questions;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* const shard = async::Shard::Current();
    const std::scoped_lock lock(questions->mutex_);
    if (questions->places_ > 0) {
      --questions->places_;
      return false;
    }
    questions->waiting_.push_back([shard, caller] { shard->Post([caller] { caller.resume(); }); });
    return true;
  }
  void await_resume() const noexcept {}
};

void Questions::Leave() {
  std::function<void()> next;
  {
    const std::scoped_lock lock(mutex_);
    if (waiting_.empty()) {
      ++places_;
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
  next();
}

void Questions::LogFailure(const std::string& what) {
  uint64_t others = 0;
  {
    const std::scoped_lock lock(mutex_);
    const Nanos now = core_->Now();
    if (logged_ != Nanos(0) && now - logged_ < kLogEvery) {
      ++not_logged_;
      return;
    }
    logged_ = now;
    others = std::exchange(not_logged_, 0);
  }
  if (others == 0) SHEEN_LOG(Warn, "{}", what);
  if (others != 0) SHEEN_LOG(Warn, "{} (and {} more before it)", what, others);
}

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
Questions::Order& Questions::OrderFor(const Unasked::Name& name, std::vector<Order>* orders) {
  constexpr size_t kTogether = 256;
  const bool absent = name.fid.empty();
  const auto fits = [&name, absent](const Order& one) {
    return one.link == name.link && one.absent == absent && one.names.size() < kTogether;
  };
  const auto found = std::ranges::find_if(*orders, fits);
  if (found != orders->end()) return *found;
  orders->push_back(Order{.link = name.link, .absent = absent});
  return orders->back();
}

std::string Questions::MarkOf(const Unasked::Name& name) {
  return name.fid.empty() ? fmt::format("{}/{}", name.link, name.key) : name.fid.ToString();
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
      AskedPointer& asked = asking_[MarkOf(name)];
      if (asked != nullptr) {
        others.push_back(asked);
        continue;
      }
      asked = std::make_shared<Asked>(Asked{.listing = listing});
      Order& order = OrderFor(name, &orders);
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
    LogFailure(fmt::format("'{}' of data repository {} cannot be shown: {}", order.names[0].key,
                           order.link, all.error().ToString()));
  }
  std::vector<std::function<void()>> waiters;
  Status first = all;
  {
    const std::scoped_lock lock(mutex_);
    for (size_t i = 0; i < order.names.size(); ++i) {
      if (first && !results[i]) first = results[i];
      order.asked[i]->result = all ? results[i] : all;
      asking_.erase(MarkOf(order.names[i]));
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
    if (order->absent) co_return std::unexpected(link.error());
    co_return co_await FinishWithoutLink(order, results);
  }
  if (!link) co_return std::unexpected(link.error());
  co_await Place{this};
  const Result<v1::AskObjectsReply> reply = co_await CallAgents(order);
  Leave();
  if (!reply) co_return std::unexpected(reply.error());
  for (size_t i = 0; i < order->names.size(); ++i) {
    const v1::ObjectAnswer& answer = reply->answers(static_cast<int>(i));
    if (!answer.error().empty()) {
      const std::string_view what = order->absent ? "whether there is" : "who owns";
      (*results)[i] = Fail(Errc::kIo, fmt::format("S3 does not say {} '{}': {}", what,
                                                  order->names[i].key, answer.error()));
      if (!order->listing) LogFailure((*results)[i].error().message());
      continue;
    }
    const Unasked::Name* const name = &order->names[i];
    if (order->absent) {
      (*results)[i] = co_await Make(&*link, name, answer);
    } else {
      (*results)[i] = co_await Finish(&*link, name, answer);
    }
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
    (*results)[i] = co_await Finish(&link, &order->names[i], std::move(answer));
  }
  co_return Status();
}

async::Task<Result<v1::AskObjectsReply>> Questions::CallAgents(const Order* order) {
  v1::AskObjectsRequest request;
  request.set_repository(order->link);
  request.set_names(order->absent);
  for (const Unasked::Name& name : order->names) request.add_keys(name.key);
  const Nanos reason = order->until + (order->listing ? Nanos(0) : kReasonWait);
  Error last(Errc::kUnavailable, "no agent is up; start sheen-agent");
  if (core_->Now() >= order->until) {
    co_return Fail(Errc::kIo, "S3 was not asked: it was slow with others that came before");
  }
  rpc::AgentCalls* const calls = core_->options.agents;
  for (;;) {
    const std::vector<v1::AgentEntry> agents = agents_();
    v1::AgentEntry agent;
    {
      const std::scoped_lock lock(mutex_);
      if (stopping_) co_return Fail(Errc::kUnavailable, "the server is stopping");
      if (!agents.empty()) agent = agents[next_agent_++ % agents.size()];
    }
    const Nanos margin = order->listing ? -kListingMargin : kReasonMargin;
    const Nanos patience = order->until + margin - core_->Now();
    if (calls != nullptr && !agents.empty() && patience > Nanos(0)) {
      request.set_patience_ms(static_cast<uint32_t>(patience / std::chrono::milliseconds(1)) + 1);
      std::function<bool()> wanted = [this, reason, name = agent.name()] {
        return core_->Now() < reason && IsUp(name);
      };
      Result<v1::AskObjectsReply> reply =
          co_await calls->AskObjects(std::move(agent), request, std::move(wanted));
      if (reply && static_cast<size_t>(reply->answers_size()) == order->names.size()) {
        if (order->absent && !reply->names()) {
          co_return Fail(Errc::kNoEntry, "an older agent, which looks for no names");
        }
        co_return reply;
      }
      last = reply ? Error(Errc::kProtocol, "the agent's answer is not one for each key")
                   : reply.error();
    }
    if (core_->Now() >= order->until) {
      co_return Fail(Errc::kIo, "S3 was not asked: " + last.ToString());
    }
    co_await async::Shard::Current()->Sleep(kRetry);
  }
}

async::Task<Status> Questions::Make(const v1::Repository* link, const Unasked::Name* name,
                                    v1::ObjectAnswer answer) {
  if (answer.gone()) co_return Fail(Errc::kNoEntry);
  // As an import does: nobody knows yet what they keep of the directory.
  while (core_->recovery.Active(core_->Now())) {
    co_await async::Shard::Current()->Sleep(kRecoveryLook);
  }
  v1::ImportOrder order;
  SetFid(name->parent, order.mutable_parent());
  order.set_name(name->name);
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await new_fid_());
  SetFid(fid, order.mutable_fid());
  order.set_repository(link->id());
  order.set_chunk_bytes(link->chunk_bytes());
  order.set_directory_only(answer.directory_only());
  *order.mutable_entry() = std::move(*answer.mutable_entry());
  if (answer.directory_only()) order.mutable_entry()->set_key(name->key + "/");
  const Result<std::string> reply =
      co_await AskInternal(core_, &ImportEntry, order.SerializeAsString());
  const bool other = !reply && (reply.error().code() == Errc::kExists ||
                                reply.error().code() == Errc::kNotDirectory);
  if (other) co_return Status();  // somebody has made it meanwhile
  if (!reply) co_return std::unexpected(reply.error());
  v1::ImportOutcome outcome;
  if (!outcome.ParseFromString(*reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  co_return outcome.what() == v1::IMPORT_SKIPPED ? Status(Fail(Errc::kNoEntry)) : Status();
}

async::Task<Status> Questions::Finish(const v1::Repository* link, const Unasked::Name* name,
                                      v1::ObjectAnswer answer) {
  v1::FinishOrder order;
  order.set_repository(link->id());
  order.set_chunk_bytes(link->chunk_bytes());
  order.set_unlinked(link->path().empty());
  SetFid(name->fid, order.mutable_answer()->mutable_fid());
  order.mutable_answer()->set_key(name->key);
  order.mutable_answer()->set_etag(name->etag);
  order.mutable_answer()->set_modified_ns(name->modified_ns);
  *order.mutable_answer()->mutable_answer() = std::move(answer);
  SHEEN_CO_TRY_ASSIGN(const std::string reply,
                      co_await AskInternal(core_, &FinishPending, order.SerializeAsString()));
  v1::ImportOutcome outcome;
  if (!outcome.ParseFromString(reply)) co_return Fail(Errc::kProtocol, "a bad outcome");
  if (outcome.what() == v1::IMPORT_SKIPPED) {
    co_return Fail(Errc::kNoEntry, fmt::format("'{}' is gone from S3", name->key));
  }
  co_return Status();
}

}  // namespace sheen::mds
