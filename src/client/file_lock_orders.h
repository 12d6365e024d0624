// FileLockOrders: the lock requests of one shard that are under way. Each has a coroutine that
// follows it to its end at the MDS, whoever still waits for it here:
//
//   ask -> granted, refused: told
//       -> waiting -> event: told        new connection: asked again, by the same id
//                  -> given up (a signal): told at once; then cancelled at the MDS, or, granted in
//                     the same moment, what the owner had before is put back
//
// The cancel leaves after the answer to the request, so the request cannot be executed later.
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "async/sync.h"
#include "fid/fid.h"
#include "lock/file_locks.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

class State;

struct FileLockOrder {
  Fid fid;
  lock::FileLockRequest request;  // its client is 0; its id is this mount's
  uint64_t handle = 0;            // what is taken goes with it
  async::OneShot<Status> answer;  // for who asked; set once
  bool begun = false;             // it is the MDS's, or on its way there
  bool waiting = false;           // the MDS says so
  bool given_up = false;
  bool ask_again = false;
  std::optional<v1::FileLockEvents::Event> event;
  async::WaitQueue changed;

  void Tell(Status status) {
    if (!answer.is_set()) answer.Set(std::move(status));
  }
};

class FileLockOrders final {
 public:
  explicit FileLockOrders(State* state) : state_(state) {}

  // Starts it; `answer` will be set.
  void Start(const std::shared_ptr<FileLockOrder>& order);
  // Its asker hears `reason` now. Nothing when it has its answer.
  void GiveUp(uint64_t id, const Error& reason);
  void GiveUpAll(const Error& reason);
  void OnEvents(const v1::FileLockEvents& events);
  // A new connection: events may have been lost with the old one.
  void AskAgain();
  // All of an owner's locks on the file, in the background. Null: it has none; else set at the end.
  std::shared_ptr<async::OneShot<bool>> LetGo(const Fid& fid, const lock::FileLockOwner& owner);

 private:
  void GiveUpOrder(FileLockOrder* order, const Error& reason);
  async::Task<void> Run(std::shared_ptr<FileLockOrder> order);
  static bool MaySoonBeFree(const FileLockOrder& order, v1::FileLockOutcome outcome);
  async::Task<void> Pursue(FileLockOrder* order);
  // False: it is to be asked again, or was given up.
  async::Task<bool> AwaitEnd(FileLockOrder* order, v1::FileLockSetReply* reply);
  bool Record(const FileLockOrder& order, const v1::FileLockSetReply& reply, uint64_t generation);
  async::Task<void> Withdraw(FileLockOrder* order);
  async::Task<void> PutBack(FileLockOrder* order);
  struct LetGoOrder {
    Fid fid;
    lock::FileLockOwner owner;
    std::shared_ptr<async::OneShot<bool>> ended;
  };
  async::Task<void> LetGoInBackground(LetGoOrder order);

  State* const state_;
  std::map<uint64_t, std::shared_ptr<FileLockOrder>> orders_;  // by id
};

}  // namespace sheen::client
