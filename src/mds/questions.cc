#include "mds/questions.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>

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

// Who waits for its turn to call an agent: its time is up or its turn has come, whichever is first.
struct Questions::Waiter {
  uint32_t link = 0;
  async::Shard* shard = nullptr;
  std::coroutine_handle<> caller;
  std::atomic<bool> over{false};
  bool granted = false;  // before it is resumed
};

// One of the calls of agents that may be under way: true, and Leave() gives it back. False: none
// was free until then.
struct Questions::Place {
  Questions* questions;
  uint32_t link;
  Nanos until;
  std::shared_ptr<Waiter> waiter = nullptr;
  async::TimerId timer = {};

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* const shard = async::Shard::Current();
    {
      const std::scoped_lock lock(questions->mutex_);
      if (questions->TakePlace(link)) return false;
      waiter = std::make_shared<Waiter>();
      waiter->link = link;
      waiter->shard = shard;
      waiter->caller = caller;
      questions->waiting_.push_back(waiter);
    }
    timer = shard->AddTimer(until, [waiting = waiter] {
      if (!waiting->over.exchange(true)) waiting->caller.resume();
    });
    return true;
  }
  bool await_resume() {
    if (waiter == nullptr) return true;
    async::Shard::Current()->CancelTimer(timer);
    const std::scoped_lock lock(questions->mutex_);
    if (!waiter->granted) std::erase(questions->waiting_, waiter);
    return waiter->granted;
  }
};

bool Questions::TakePlace(uint32_t link) {
  if (calls_ >= kCallsMax) return false;
  size_t& of_link = calls_of_[link];
  if (of_link >= kCallsPerLinkMax) return false;
  ++calls_;
  ++of_link;
  return true;
}

std::shared_ptr<Questions::Waiter> Questions::GivePlaceBack(uint32_t link) {
  const std::scoped_lock lock(mutex_);
  --calls_;
  if (--calls_of_[link] == 0) calls_of_.erase(link);
  for (auto next = waiting_.begin(); next != waiting_.end(); ++next) {
    const auto under_way = calls_of_.find((*next)->link);
    if (under_way != calls_of_.end() && under_way->second >= kCallsPerLinkMax) continue;
    if ((*next)->over.exchange(true)) continue;  // its time is up
    const std::shared_ptr<Waiter> granted = *next;
    TakePlace(granted->link);
    granted->granted = true;
    waiting_.erase(next);
    return granted;
  }
  return nullptr;
}

void Questions::Leave(uint32_t link) {
  const std::shared_ptr<Waiter> next = GivePlaceBack(link);
  if (next) next->shard->Post([next] { next->caller.resume(); });
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

bool Questions::IsStopping() const {
  const std::scoped_lock lock(mutex_);
  return stopping_;
}

bool Questions::IsUp(const std::string& agent) const {
  if (IsStopping()) return false;
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
  const bool granted = co_await Place{this, order->link, order->until};
  if (!granted) co_return Fail(Errc::kIo, "S3 was not asked: it is slow with others before it");
  const Result<v1::AskObjectsReply> reply = co_await CallAgents(order);
  Leave(order->link);
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
  if (answer.gone()) {
    core_->unlisted.NoteAbsent(link->id(), name->key, core_->Now());
    co_return Fail(Errc::kNoEntry);
  }
  const std::string& key = answer.entry().key();
  const bool of_name = key == name->key || key == name->key + "/";
  if (!answer.directory_only() && !of_name) {
    co_return Fail(Errc::kProtocol, fmt::format("the agent speaks of '{}'", key));
  }
  // As an import does: nobody knows yet what they keep of the directory.
  while (core_->recovery.Active(core_->Now())) {
    if (IsStopping()) co_return Fail(Errc::kUnavailable, "the server is stopping");
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
      co_await AskInternal(core_, &MakeUnlisted, order.SerializeAsString());
  // The directory is gone: who looks again is told so.
  if (!reply && reply.error().code() == Errc::kStale) co_return Status();
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
