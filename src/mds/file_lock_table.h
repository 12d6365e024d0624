// FileLockTable: the flock and fcntl locks of all files and clients (rules: src/lock/file_locks.h).
//
//   Set -> granted, refused, EDEADLK      answered
//       -> waiting                        answered too; kFileLockEvent goes to the client later
//
// So a wait holds nothing of the server but a record: no request, no latch, no place among a
// connection's requests in flight. It ends by an event, by Cancel, or with its session.
//
// Whose locks are dropped when
//  - with its session: a goodbye, an eviction (DropSession)
//  - a client all of whose connections ended `grace` ago has lapsed: what it waits for is given up
//    (it asks again when it comes back), and when somebody else wants what it holds it is to be
//    evicted. Until then it keeps it.
//  - in memory only: after a restart the clients that were known declare what they hold (Reclaim);
//    until all have, or the time for that is over, nothing new is granted.
//
// Every change has a number, `sequence`, by which a client orders answers and events that
// overtook each other; the boot count is its upper part, so that it grows over restarts.
//
// Thread-safe. The mutex is a leaf; clients are asked without it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "lock/deadlock.h"
#include "lock/file_locks.h"
#include "rpc/server.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::mds {

v1::FileLockOutcome OutcomeToWire(lock::FileLockOutcome outcome);

class FileLockTable final {
 public:
  struct Options {
    uint64_t ranges_max = 2'000'000;  // held; about 200 bytes each
    uint64_t waits_max = 1'000'000;
    Nanos grace = std::chrono::seconds(3);
    // An eviction takes so long, unless an OSS cannot be told.
    Nanos eviction_time = std::chrono::seconds(2);
  };
  // Who asks, and by which connection; a null peer is told nothing.
  struct Client {
    std::shared_ptr<rpc::Session> session;
    std::shared_ptr<rpc::Peer> peer;
    const std::atomic<bool>* ended = nullptr;  // set before DropSession; null: never
  };
  struct SetAnswer {
    lock::FileLockOutcome outcome = lock::FileLockOutcome::kGranted;
    uint64_t sequence = 0;
    // Lapsed clients in the way: to be evicted. `soon_free`: that has not had its time yet.
    std::vector<uint64_t> lapsed;
    bool soon_free = false;
  };
  struct Held {
    Fid fid;
    lock::FileLock lock;
  };

  FileLockTable() : FileLockTable(Options{}) {}
  explicit FileLockTable(Options options) : options_(options) {}
  FileLockTable(const FileLockTable&) = delete;
  FileLockTable& operator=(const FileLockTable&) = delete;

  // Before the first request. Nothing new is granted until each of `sessions` has declared its
  // locks or ended, or until `deadline`, which Extend does not move beyond `last_deadline`.
  void Begin(uint64_t boot, const std::vector<uint64_t>& sessions, Nanos deadline,
             Nanos last_deadline);

  // The deadline is not before that: a client is coming back, and declares then.
  void Extend(Nanos until);

  // The same request again (a resend) has the same answer, or that of its end.
  // Errors: kInvalid, kNoLocks (the table is full), kUnavailable (see Begin), kEvicted.
  Result<SetAnswer> Set(const Fid& fid, const lock::FileLockRequest& request, const Client& client,
                        Nanos now);
  // Errors: kInvalid, kUnavailable (see Begin).
  Result<std::optional<lock::FileLock>> Test(const Fid& fid, const lock::FileLock& wanted,
                                             Nanos now);
  // False: it does not wait: never did, or was granted.
  bool Cancel(const Fid& fid, const lock::FileLockRequestName& name);
  // The session holds or waits, or did.
  bool Knows(uint64_t session_id) const;
  // Indexes of those that others hold now. Errors: kNoLocks, kEvicted.
  Result<std::vector<uint32_t>> Reclaim(const std::vector<Held>& locks, const Client& client);
  // The session has declared all that it holds, or does not know how.
  void Declared(uint64_t session_id);
  // It has been without a connection for the grace. True: others wait for what it holds.
  bool Lapse(const rpc::Session& session, Nanos now);
  // Those who hold what others wait for, and of whom nothing was heard for a while, are wanted
  // (rpc::Session): now and then.
  void NoteWanted(Nanos now);
  void DropSession(uint64_t session_id);

  struct Counts {
    uint64_t held = 0;
    uint64_t waiting = 0;
  };
  Counts counts() const;
  // For tests: all that is held on a file.
  std::vector<lock::FileLock> HeldOn(const Fid& fid) const;

 private:
  struct Wait {
    Fid fid;
    lock::FileLockRequest request;
    std::shared_ptr<rpc::Peer> peer;
  };
  struct Event {
    std::shared_ptr<rpc::Peer> peer;
    uint64_t id = 0;
    lock::FileLockOutcome outcome = lock::FileLockOutcome::kGranted;
    uint64_t sequence = 0;
  };
  using Events = std::vector<Event>;
  struct Known {
    std::shared_ptr<rpc::Session> session;
    std::optional<Nanos> in_the_way_since;  // lapsed, and somebody wants what it holds
  };

  lock::FileLocks* FileOf(const Fid& fid);
  void ForgetIfEmpty(const Fid& fid);
  bool AwaitingLocked(Nanos now);
  Status Check(const lock::FileLockRequest& request, const Client& client) const;
  bool LapsedLocked(const rpc::Session& session, Nanos now) const;
  void FindLapsed(const lock::FileLocks& file, const lock::FileLockRequest& request, Nanos now,
                  SetAnswer* answer);
  void NoteChanges(const lock::FileLockChanges& changes, Events* events);
  void NoteEnd(const lock::FileLockRequestName& name, lock::FileLockOutcome outcome,
               Events* events);
  void DropWaits(uint64_t session_id);
  static void Tell(const Events& events);

  const Options options_;
  mutable std::mutex mutex_;  // guards everything below
  lock::DeadlockGraph graph_;
  std::unordered_map<Fid, std::unique_ptr<lock::FileLocks>> files_;
  std::map<lock::FileLockRequestName, Wait> waits_;
  std::map<uint64_t, Known> sessions_;  // that hold or wait, or did
  uint64_t held_ = 0;
  uint64_t sequence_ = 0;
  std::set<uint64_t> awaited_;
  Nanos deadline_{0};
  Nanos last_deadline_{0};
};

}  // namespace sheen::mds
