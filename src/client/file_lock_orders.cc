#include "client/file_lock_orders.h"

#include <array>

#include "base/log.h"
#include "client/convert.h"
#include "client/state.h"

namespace sheen::client {
namespace {

using lock::FileLockKind;
using lock::FileLockType;

// What an application does not wait for any more is still followed to its end: no deadline.
constexpr Nanos kPatience = std::chrono::hours(24 * 365);
// Between the tries of what does not wait (MaySoonBeFree).
constexpr std::array kRefusedPauses = {Nanos(std::chrono::milliseconds(1)),
                                       Nanos(std::chrono::milliseconds(4))};

lock::FileLock LockOf(const lock::FileLockRequest& request) {
  return {request.owner, request.type, request.extent, request.pid};
}

struct SetCall {
  Fid fid;
  lock::FileLockRequest request;
};

async::Task<Result<v1::FileLockSetReply>> SendSet(State* state, SetCall set) {
  v1::FileLockSetRequest message;
  FidToWire(set.fid, message.mutable_fid());
  FileLockToWire(LockOf(set.request), message.mutable_lock());
  message.set_wait(set.request.wait);
  message.set_id(set.request.id);
  ShardContext* const context = state->Here();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsFileLockSet, 0, message);
  call.deadline = context->shard()->Now() + kPatience;
  auto answered = co_await MdsCall<v1::FileLockSetReply>(context, std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(answered->reply);
}

Status StatusOf(v1::FileLockOutcome outcome) {
  switch (outcome) {
    case v1::FILE_LOCK_GRANTED:
      return {};
    case v1::FILE_LOCK_REFUSED:
      return Fail(Errc::kAgain);
    case v1::FILE_LOCK_DEADLOCK:
      return Fail(Errc::kDeadlock);
    default:
      return Fail(Errc::kProtocol, "mds0: a file lock has an unknown outcome");
  }
}

}  // namespace

void FileLockOrders::Start(const std::shared_ptr<FileLockOrder>& order) {
  orders_[order->request.id] = order;
  state_->Here()->shard()->Spawn(Run(order));
}

void FileLockOrders::GiveUpOrder(FileLockOrder* order, const Error& reason) {
  if (order->given_up || order->answer.is_set()) return;
  order->given_up = true;
  // Later requests about the file come after what is still to be done about this one.
  if (order->begun) state_->file_locks.BeginLetGo(order->fid);
  order->changed.WakeAll(state_->Here()->shard());
  order->Tell(std::unexpected(reason));
}

void FileLockOrders::GiveUp(uint64_t id, const Error& reason) {
  const auto found = orders_.find(id);
  if (found == orders_.end()) return;
  const std::shared_ptr<FileLockOrder> order = found->second;
  GiveUpOrder(order.get(), reason);
}

void FileLockOrders::GiveUpAll(const Error& reason) {
  const auto orders = orders_;
  for (const auto& [id, order] : orders) GiveUpOrder(order.get(), reason);
}

void FileLockOrders::OnEvents(const v1::FileLockEvents& events) {
  for (const v1::FileLockEvents::Event& event : events.events()) {
    const auto found = orders_.find(event.id());
    if (found == orders_.end()) continue;  // given up, and the MDS hears so
    found->second->event = event;
    found->second->changed.WakeAll(state_->Here()->shard());
  }
}

void FileLockOrders::AskAgain() {
  for (const auto& [id, order] : orders_) {
    order->ask_again = true;
    order->changed.WakeAll(state_->Here()->shard());
  }
}

async::Task<void> FileLockOrders::Run(std::shared_ptr<FileLockOrder> order) {
  const BackgroundMark mark(state_);
  FileLockBook* const book = &state_->file_locks;
  const Fid fid = order->fid;
  while (book->LettingGo(fid)) co_await book->WaitLetGo(fid);
  if (!order->given_up) {
    order->begun = true;
    book->Begin(fid, LockOf(order->request), order->handle);
    co_await Pursue(order.get());
    book->End(fid, order->request.owner);
    if (order->given_up) book->EndLetGo(fid);
  }
  orders_.erase(order->request.id);
}

// flock and OFD locks end at the RELEASE, which no close(2) waits for: what was closed just before
// on another node may still be on its way to the MDS.
bool FileLockOrders::MaySoonBeFree(const FileLockOrder& order, v1::FileLockOutcome outcome) {
  return outcome == v1::FILE_LOCK_REFUSED && !order.given_up &&
         order.request.owner.kind != FileLockKind::kPosix;
}

async::Task<void> FileLockOrders::Pursue(FileLockOrder* order) {
  auto pause = kRefusedPauses.begin();
  for (;;) {
    order->event.reset();
    order->ask_again = false;
    const uint64_t generation = state_->file_locks.generation();
    Result<v1::FileLockSetReply> reply = co_await SendSet(state_, {order->fid, order->request});
    if (!reply) {
      order->Tell(std::unexpected(reply.error()));
      co_return;
    }
    if (reply->outcome() == v1::FILE_LOCK_WAITING) {
      if (!Record(*order, *reply, generation)) continue;
      const bool ended = co_await AwaitEnd(order, &*reply);
      if (!ended && order->given_up) {
        co_await Withdraw(order);
        co_return;
      }
      if (!ended) continue;
    }
    if (MaySoonBeFree(*order, reply->outcome()) && pause != kRefusedPauses.end()) {
      if (!Record(*order, *reply, generation)) continue;
      co_await state_->Here()->shard()->Sleep(*pause++);
      continue;
    }
    const bool granted = reply->outcome() == v1::FILE_LOCK_GRANTED;
    if (granted && order->given_up && order->request.type != FileLockType::kUnlock) {
      co_await PutBack(order);
      co_return;
    }
    if (!Record(*order, *reply, generation)) continue;
    order->Tell(StatusOf(reply->outcome()));
    co_return;
  }
}

async::Task<bool> FileLockOrders::AwaitEnd(FileLockOrder* order, v1::FileLockSetReply* reply) {
  order->waiting = true;
  while (!order->event && !order->given_up && !order->ask_again) co_await order->changed.Wait();
  order->waiting = false;
  if (!order->event) co_return false;
  reply->set_outcome(order->event->outcome());
  reply->set_sequence(order->event->sequence());
  co_return true;
}

bool FileLockOrders::Record(const FileLockOrder& order, const v1::FileLockSetReply& reply,
                            uint64_t generation) {
  const lock::FileLockRequest& request = order.request;
  HeldFileLocks::Change change{LockOf(request), reply.sequence()};
  if (reply.outcome() != v1::FILE_LOCK_GRANTED) {
    // flock changes its type by letting go first; of others a refusal changes nothing.
    if (request.owner.kind != FileLockKind::kFlock)
      return generation == state_->file_locks.generation();
    change.lock.type = FileLockType::kUnlock;
  }
  return state_->file_locks.Apply(order.fid, change, generation);
}

async::Task<void> FileLockOrders::Withdraw(FileLockOrder* order) {
  v1::FileLockCancelRequest message;
  FidToWire(order->fid, message.mutable_fid());
  message.set_id(order->request.id);
  ShardContext* const context = state_->Here();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsFileLockCancel, 0, message);
  call.deadline = context->shard()->Now() + kPatience;
  const auto answered = co_await MdsCall<v1::FileLockCancelReply>(context, std::move(call));
  // Not waiting: granted, or the server has restarted and does not know it.
  if (answered && !answered->reply.waited()) co_await PutBack(order);
}

// The lock was granted, and nobody wants it any more: the range becomes what it was.
async::Task<void> FileLockOrders::PutBack(FileLockOrder* order) {
  FileLockBook* const book = &state_->file_locks;
  const Fid fid = order->fid;
  while (!book->TryTurn(fid)) co_await book->WaitTurn(fid);
  bool answered = true;
  for (uint64_t generation = 0; answered && generation != book->generation();) {
    generation = book->generation();
    const std::vector<lock::FileLock> pieces =
        book->PiecesIn(order->fid, order->request.owner, order->request.extent);
    for (const lock::FileLock& piece : pieces) {
      lock::FileLockRequest request;
      request.owner = piece.owner;
      request.type = piece.type;
      request.extent = piece.extent;
      request.pid = piece.pid;
      const auto set = co_await SendSet(state_, {fid, request});
      answered = set.has_value();
      if (!answered) break;
    }
  }
  book->EndTurn(fid);
}

std::shared_ptr<async::OneShot<bool>> FileLockOrders::LetGo(const Fid& fid,
                                                            const lock::FileLockOwner& owner) {
  FileLockBook* const book = &state_->file_locks;
  if (!book->Concerns(fid, owner)) return nullptr;
  book->BeginLetGo(fid);
  book->Begin(fid, {owner, FileLockType::kUnlock}, 0);
  const LetGoOrder order{fid, owner, std::make_shared<async::OneShot<bool>>()};
  state_->Here()->shard()->Spawn(LetGoInBackground(order));
  return order.ended;
}

async::Task<void> FileLockOrders::LetGoInBackground(LetGoOrder order) {
  const auto& [fid, owner, ended] = order;
  const BackgroundMark mark(state_);
  FileLockBook* const book = &state_->file_locks;
  lock::FileLockRequest request;
  request.owner = owner;
  request.type = FileLockType::kUnlock;
  while (!book->TryTurn(fid)) co_await book->WaitTurn(fid);
  for (;;) {
    const uint64_t generation = book->generation();
    const auto set = co_await SendSet(state_, {fid, request});
    if (!set) {
      SHEEN_LOG(Warn, "{}: locks could not be let go: {}", fid.ToString(), set.error().ToString());
      break;
    }
    if (book->Apply(fid, {{owner, request.type, request.extent, 0}, set->sequence()}, generation))
      break;
  }
  book->EndTurn(fid);
  book->End(fid, owner);
  book->EndLetGo(fid);
  if (!ended->is_set()) ended->Set(true);
}

}  // namespace sheen::client
