// UringPoller: an io_uring with one owner thread, the Poller of a real daemon's shard. Sockets,
// files and FUSE queues of a shard all submit here; one io_uring_enter a turn submits and reaps.
//
// Shard-confined, except Wake(). Rings are created with SQE128 only when asked (FUSE needs it).
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>

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

struct UringOptions {
  uint32_t entries = 1024;
  bool sqe128 = false;
};

class UringPoller final : public async::Poller {
 public:
  // Errors: kNoSys with advice when io_uring is switched off on this machine.
  static Result<std::unique_ptr<UringPoller>> Create(UringOptions options);
  ~UringPoller() override;

  void Poll(Nanos max_wait) override;
  void Wake() override;

  // A cleared SQE with its user data set; the caller fills it in with io_uring_prep_* BEFORE
  // calling Attach. Submitted at the next Poll (or at once when the queue is full).
  io_uring_sqe* NextSqe();
  static void Attach(io_uring_sqe* sqe, Completion* completion);
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

  io_uring* ring() { return &ring_; }

 private:
  UringPoller() = default;

  io_uring ring_{};
  int wake_fd_ = -1;
  bool ring_ready_ = false;
  uint64_t wake_value_ = 0;
  std::unique_ptr<Completion> unused_;
  struct WakeCompletion;
  std::unique_ptr<WakeCompletion> wake_completion_;
};

}  // namespace sheen::io
