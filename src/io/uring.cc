#include "io/uring.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "io/uring_features.h"

namespace sheen::io {
namespace {

// Ring flags from best to plainest; the first set that the kernel accepts is used.
// DEFER_TASKRUN (Linux 6.1) runs completions only when we enter the kernel for them: no
// interruptions of the owner. TASKRUN_FLAG tells in shared memory that some wait, so that a turn
// with nothing to submit needs no system call. R_DISABLED lets another thread prepare the ring.
constexpr uint32_t kCommonFlags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
constexpr std::array<uint32_t, 3> kFlagSets = {
    kCommonFlags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL,
    kCommonFlags | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    kCommonFlags,
};

// Submission can fail for want of memory for a moment; for longer it is fatal.
constexpr int kSubmitAttemptsMax = 1000;

std::unexpected<Error> SetUpFailure(int error_number) {
  if (error_number == ENOSYS || error_number == EPERM || error_number == EACCES) {
    return Fail(Errc::kNoSys,
                "io_uring is not available here: set sysctl kernel.io_uring_disabled to 0, and in "
                "a container allow io_uring_setup, io_uring_enter and io_uring_register in the "
                "seccomp profile");
  }
  if (error_number == ENOMEM) {
    return Fail(Errc::kNoMemory,
                "io_uring ring does not fit in locked memory: raise RLIMIT_MEMLOCK");
  }
  return FailErrno(error_number, "io_uring_setup");
}

}  // namespace

// A multishot poll of the eventfd. The eventfd is never read: every write to it wakes the poll
// again (edge), and 2^64 writes do not happen.
class UringPoller::WakeCompletion final : public Completion {
 public:
  explicit WakeCompletion(UringPoller* poller) : poller_(poller) {}
  void Complete(int32_t, uint32_t flags) override {
    if ((flags & IORING_CQE_F_MORE) == 0) poller_->ArmWake();
  }

 private:
  UringPoller* const poller_;
};

UringPoller::UringPoller() = default;

Result<std::unique_ptr<UringPoller>> UringPoller::Create(UringOptions options) {
  std::unique_ptr<UringPoller> poller(new UringPoller());
  SHEEN_TRY(poller->SetUp(options));
  return poller;
}

Status UringPoller::SetUp(const UringOptions& options) {
  int failed = 0;
  for (const uint32_t flags : kFlagSets) {
    io_uring_params params{};
    params.flags = flags | (options.sqe128 ? IORING_SETUP_SQE128 : 0);
    params.cq_entries = options.entries * 4;
    failed = -io_uring_queue_init_params(options.entries, &ring_, &params);
    if (failed == 0) {
      ring_ready_ = true;
      starts_disabled_ = (flags & IORING_SETUP_R_DISABLED) != 0;
      taskrun_flag_ = (flags & IORING_SETUP_TASKRUN_FLAG) != 0;
      ring_.features = UsableFeatures(flags, ring_.features);
      break;
    }
    if (failed != EINVAL) break;
  }
  if (failed != 0) return SetUpFailure(failed);
  sqe_bytes_ = options.sqe128 ? 128 : 64;
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return FailErrno(errno, "eventfd");
  wake_completion_ = std::make_unique<WakeCompletion>(this);
  ArmWake();
  return {};
}

UringPoller::~UringPoller() {
  if (ring_ready_) io_uring_queue_exit(&ring_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

void UringPoller::EnsureEnabled() {
  if (enabled_) return;
  enabled_ = true;
  if (starts_disabled_) {
    // liburing 2.3 declares io_uring_enable_rings but does not export it.
    const long failed =
        syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    SHEEN_ASSERT(failed == 0);
  }
  // Saves the lookup of the ring's descriptor at each enter; works without, too.
  (void)io_uring_register_ring_fd(&ring_);
}

void UringPoller::ArmWake() {
  io_uring_sqe* sqe = NextSqe();
  io_uring_prep_poll_multishot(sqe, wake_fd_, POLLIN);
  Attach(sqe, wake_completion_.get());
}

io_uring_sqe* UringPoller::NextSqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  for (int attempt = 0; sqe == nullptr; ++attempt) {
    SHEEN_ASSERT(attempt < kSubmitAttemptsMax);
    EnsureEnabled();
    (void)io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  std::memset(static_cast<void*>(sqe), 0, sqe_bytes_);
  return sqe;
}

void UringPoller::Attach(io_uring_sqe* sqe, Completion* completion) {
  sqe->user_data = reinterpret_cast<uintptr_t>(completion);
}

void UringPoller::AttachQuietly(io_uring_sqe* sqe, Completion* completion, int32_t success) {
  Attach(sqe, completion);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  quiet_.push_back({completion, success});
}

void UringPoller::Cancel(Completion* completion) {
  io_uring_sqe* sqe = NextSqe();
  io_uring_prep_cancel64(sqe, reinterpret_cast<uintptr_t>(completion), IORING_ASYNC_CANCEL_ALL);
  Attach(sqe, nullptr);
}

void UringPoller::Poll(Nanos max_wait) {
  EnsureEnabled();
  if (max_wait > Nanos(0)) {
    sleeping_.store(true);
    if (wake_pending_.load()) max_wait = Nanos(0);
  }
  SubmitAndWait(max_wait);
  sleeping_.store(false);
  // Whoever finds it set already has put its work where the shard looks next.
  wake_pending_.exchange(false);
  CompleteQuiet();
  Reap();
}

void UringPoller::Wake() {
  if (wake_pending_.exchange(true)) return;
  if (!sleeping_.load()) return;
  const uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
}

void UringPoller::EndTurn() {
  // What woke the shard up to here has run, or is seen by the shard before it calls Poll(): no
  // reason not to sleep.
  wake_pending_.exchange(false);
  turn_ends_running_.swap(turn_ends_);
  for (TurnEnd* turn_end : turn_ends_running_) turn_end->OnTurnEnd();
  turn_ends_running_.clear();
}

void UringPoller::SubmitAndWait(Nanos max_wait) {
  int done = 0;
  if (max_wait > Nanos(0)) {
    const int64_t nanos = max_wait.count();
    __kernel_timespec timeout{.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    done = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
  } else {
    // Nothing to submit, no task work, no overflown completions: nothing to ask the kernel.
    const uint32_t kernel_flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
    const bool needs_enter = io_uring_sq_ready(&ring_) > 0 || !taskrun_flag_ ||
                             (kernel_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    if (needs_enter) done = io_uring_submit_and_get_events(&ring_);
  }
  // ETIME: the wait is over. EINTR: a signal. EAGAIN, EBUSY: short of memory or of completion
  // slots, so reap first; what was not submitted goes next turn.
  const bool expected = done >= 0 || done == -ETIME || done == -EINTR || done == -EAGAIN ||
                        done == -EBUSY || done == -ENOMEM;
  if (!expected) SHEEN_LOG(Error, "io_uring_enter: {}", std::strerror(-done));
  SHEEN_ASSERT(expected);
}

// Those of which the kernel had nothing to say. A failure stands in the completion queue by now,
// unless that was too short for it, and is told by Reap.
void UringPoller::CompleteQuiet() {
  if (quiet_.empty()) return;
  unsigned head = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    std::erase_if(quiet_, [cqe](const Quiet& quiet) {
      return cqe->user_data == reinterpret_cast<uintptr_t>(quiet.completion);
    });
  }
  if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0) return;
  if (io_uring_sq_ready(&ring_) > 0) return;  // not all were submitted
  quiet_running_.swap(quiet_);
  for (const Quiet& quiet : quiet_running_) quiet.completion->Complete(quiet.success, 0);
  quiet_running_.clear();
}

void UringPoller::Reap() {
  // Only those that are there now: completions of what callbacks submit wait for the next turn.
  uint32_t count = io_uring_cq_ready(&ring_);
  while (count-- > 0) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) return;
    auto* completion = reinterpret_cast<Completion*>(static_cast<uintptr_t>(cqe->user_data));
    const int32_t result = cqe->res;
    const uint32_t flags = cqe->flags;
    io_uring_cqe_seen(&ring_, cqe);
    if (completion != nullptr) completion->Complete(result, flags);
  }
}

}  // namespace sheen::io
