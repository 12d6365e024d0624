// UringPoller: an io_uring with one owner thread, the Poller of a real daemon's shard. Sockets,
// files and FUSE queues of a shard all submit here; one io_uring_enter a turn submits and reaps.
//
// Shard-confined, except Wake(). The thread that first calls Poll() becomes the owner, and must be
// the one that calls everything but Wake() from then on (IORING_SETUP_SINGLE_ISSUER); before that
// Create() and the preparation of SQEs may happen on another thread. Destroy it on the owner or
// after the owner has ended, when no operation is in flight.
// Rings are created with SQE128 only when asked (FUSE needs it).
#pragma once

#include <liburing.h>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "async/task.h"
#include "sheen/result.h"

namespace sheen::io {

// What a submitted operation calls back. Lives until Complete() has run; may be reused after.
class Completion {
 public:
  // `result` as cqe->res, `flags` as cqe->flags. May submit more and resume coroutines.
  virtual void Complete(int32_t result, uint32_t flags) = 0;

 protected:
  ~Completion() = default;
};

// Wants one call at the end of the turn, just before the submission: what gathers there (frames
// for one socket) leaves in one operation.
class TurnEnd {
 public:
  // May take SQEs. Must neither resume coroutines nor post to the shard, which is about to sleep.
  virtual void OnTurnEnd() = 0;

 protected:
  ~TurnEnd() = default;
};

struct UringOptions {
  uint32_t entries = 1024;  // of the submission queue; the completion queue has four times as many
  bool sqe128 = false;
};

class UringPoller final : public async::Poller {
 public:
  // Errors: kNoSys with advice when io_uring is switched off on this machine.
  static Result<std::unique_ptr<UringPoller>> Create(UringOptions options);
  ~UringPoller() override;

  void EndTurn() override;
  void Poll(Nanos max_wait) override;
  void Wake() override;

  // A cleared SQE with its user data set; the caller fills it in with io_uring_prep_* BEFORE
  // calling Attach. Submitted at the next Poll (or at once when the queue is full).
  io_uring_sqe* NextSqe();
  static void Attach(io_uring_sqe* sqe, Completion* completion);
  // As Attach, for what the kernel does or refuses while it submits (MSG_DONTWAIT): of a success it
  // says nothing, so that nobody is woken by it, and Complete(success, 0) comes with the next event
  // of another operation. REQUIRES: quiet_successes().
  void AttachQuietly(io_uring_sqe* sqe, Completion* completion, int32_t success);
  bool quiet_successes() const { return (ring_.features & IORING_FEAT_CQE_SKIP) != 0; }
  // Asks the kernel to cancel what `completion` waits for; its Complete() still comes.
  void Cancel(Completion* completion);

  // co_await uring->Do([&](io_uring_sqe* sqe) { io_uring_prep_recv(sqe, fd, p, n, 0); });
  // gives cqe->res.
  template <class Prepare>
  auto Do(Prepare prepare) {
    struct Awaiter final : Completion {
      UringPoller* uring;
      Prepare prepare;
      int32_t result = 0;
      std::coroutine_handle<> caller;
      Awaiter(UringPoller* u, Prepare p) : uring(u), prepare(std::move(p)) {}
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        caller = handle;
        io_uring_sqe* sqe = uring->NextSqe();
        prepare(sqe);
        Attach(sqe, this);
      }
      int32_t await_resume() const noexcept { return result; }
      void Complete(int32_t res, uint32_t) override {
        result = res;
        caller.resume();
      }
    };
    return Awaiter(this, std::move(prepare));
  }

  // Calls `turn_end` once, in the next Poll(). It must stay alive until then, or be forgotten.
  void AtTurnEnd(TurnEnd* turn_end) { turn_ends_.push_back(turn_end); }
  void ForgetTurnEnd(TurnEnd* turn_end) { std::erase(turn_ends_, turn_end); }

  io_uring* ring() { return &ring_; }

 private:
  class WakeCompletion;

  UringPoller();
  Status SetUp(const UringOptions& options);
  void EnsureEnabled();
  void ArmWake();
  void SubmitAndWait(Nanos max_wait);
  void CompleteQuiet();
  void Reap();

  io_uring ring_{};
  bool ring_ready_ = false;  // ring_ holds a ring
  bool enabled_ = false;     // the owner is known and the ring takes submissions
  bool starts_disabled_ = false;
  bool taskrun_flag_ = false;  // the kernel says in shared memory when task work waits
  size_t sqe_bytes_ = 64;
  int wake_fd_ = -1;
  // Wake() writes the eventfd only for a poller that sleeps: each side sets its own flag first and
  // reads the other's after (both sequentially consistent), so one of them sees the other.
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> wake_pending_{false};
  std::unique_ptr<WakeCompletion> wake_completion_;
  struct Quiet {
    Completion* completion;
    int32_t success;
  };
  std::vector<Quiet> quiet_;
  std::vector<Quiet> quiet_running_;
  std::vector<TurnEnd*> turn_ends_;
  std::vector<TurnEnd*> turn_ends_running_;
};

}  // namespace sheen::io
