#include "fuse/kernel_notices.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "fuse/fuse_kernel.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

// Protocol 7.x of the first kernel that is told anything, Linux 6.16: it has FUSE_NOTIFY_INC_EPOCH,
// and compares what a lookup brings with the evictions since it was asked (6.14).
constexpr uint32_t kMinorMin = 44;
constexpr int32_t kNotifyIncEpoch = 8;
// An inode that is not there yet is looked for again after this.
constexpr Nanos kUnknownWait = std::chrono::microseconds(300);
// Names are told again so long after the first time.
constexpr Nanos kAgain[] = {std::chrono::milliseconds(50), std::chrono::seconds(1)};
constexpr Nanos kLookAtStuck = std::chrono::milliseconds(10);

Nanos MonotonicNow() { return SystemClock().Monotonic(); }

bool IsDataOnly(const client::KernelNotice& notice) {
  return notice.data_length > 0 && !notice.attributes && notice.names.empty();
}

}  // namespace

KernelCalls CallsOf(const Session* session) {
  fuse_session* const notify = session->notify_session();
  KernelCalls calls;
  calls.minor = session->kernel_minor();
  calls.forget_attributes = [notify](fuse_ino_t node) {
    return fuse_lowlevel_notify_inval_inode(notify, node, -1, 0);
  };
  calls.forget_data = [notify](fuse_ino_t node, int64_t offset, int64_t length) {
    return fuse_lowlevel_notify_inval_inode(notify, node, offset, length);
  };
  calls.expire_name = [notify](fuse_ino_t directory, const std::string& name) {
    return fuse_lowlevel_notify_expire_entry(notify, directory, name.c_str(), name.size(),
                                             FUSE_LL_EXPIRE_ONLY);
  };
  calls.raise_epoch = [notify] {
    fuse_out_header header{};
    header.len = sizeof header;
    header.error = kNotifyIncEpoch;
    return ::write(fuse_session_fd(notify), &header, sizeof header) < 0 ? -errno : 0;
  };
  return calls;
}

KernelNotices::KernelNotices(client::Filesystem* filesystem, KernelCalls calls)
    : filesystem_(filesystem), calls_(std::move(calls)), can_tell_(calls_.minor >= kMinorMin) {}

KernelNotices::~KernelNotices() { Stop(); }

void KernelNotices::Start() {
  if (!can_tell_) {
    SHEEN_LOG(Info,
              "names and attributes are not kept in the kernel, which makes stat several times as "
              "slow: this one speaks FUSE 7.{}, Linux 6.16 or later (7.{}) is needed",
              calls_.minor, kMinorMin);
    return;
  }
  guard_ = std::thread([this] { Guard(); });
  filesystem_->kernel()->SetNotifier(this);
}

void KernelNotices::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  filesystem_->kernel()->Stop();
  work_.notify_all();
  guard_wake_.notify_all();
  if (guard_.joinable()) guard_.join();
  for (std::thread& worker : workers_) worker.join();
}

void KernelNotices::Notify(client::KernelNotice notice) {
  {
    const std::scoped_lock lock(mutex_);
    if (!stopping_) {
      AddJobLocked(std::move(notice));
      return;
    }
  }
  if (notice.done) notice.done();
}

void KernelNotices::NoteLateChange(fuse_ino_t node, const std::string& name) {
  if (!can_tell_) return;  // nothing is kept
  client::KernelNotice notice;
  notice.fid = FidOfNode(filesystem_, node);
  notice.attributes = true;
  if (!name.empty()) notice.names.push_back({notice.fid, name});
  Notify(std::move(notice));
}

void KernelNotices::AddJobLocked(client::KernelNotice notice) {
  queue_.push_back(std::make_shared<Job>(Job{std::move(notice), MonotonicNow()}));
  // The guard watches over what runs.
  if (running_.empty() && queue_.size() == 1) guard_wake_.notify_one();
  if (idle_ < queue_.size() && workers_.size() < kThreadsMax) {
    workers_.emplace_back([this] { Work(); });
  }
  work_.notify_one();
}

void KernelNotices::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (queue_.empty()) return;
    const JobPtr job = std::move(queue_.front());
    queue_.pop_front();
    job->begun = MonotonicNow();
    running_.push_back(job);
    lock.unlock();
    TellAttributesUntilKnown(job->notice);
    TellData(job->notice);
    TellNames(job->notice);
    Finish(job);
    lock.lock();
    std::erase(running_, job);
    const bool again = job->notice.done && !job->notice.names.empty() && !stopping_;
    if (again) AddLaterLocked(job->notice.names, MonotonicNow());
  }
}

void KernelNotices::Finish(const JobPtr& job) {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(job->finished, true)) return;
  }
  if (job->notice.done) job->notice.done();
}

bool KernelNotices::TellAttributes(const client::KernelNotice& notice) {
  if (!notice.attributes) return true;
  return calls_.forget_attributes(NodeOf(filesystem_, notice.fid)) != -ENOENT ||
         !filesystem_->kernel()->MayKnow(notice.fid, MonotonicNow());
}

void KernelNotices::TellAttributesUntilKnown(const client::KernelNotice& notice) {
  while (!TellAttributes(notice)) {
    std::this_thread::sleep_for(kUnknownWait);
    const std::scoped_lock lock(mutex_);
    if (stopping_) return;
  }
}

void KernelNotices::TellData(const client::KernelNotice& notice) {
  if (notice.data_length == 0) return;
  // ENOENT: it has no such inode.
  (void)calls_.forget_data(NodeOf(filesystem_, notice.fid),
                           static_cast<int64_t>(notice.data_offset),
                           static_cast<int64_t>(notice.data_length));
}

void KernelNotices::TellNames(const client::KernelNotice& notice) {
  if (notice.names.empty()) return;
  const Nanos now = MonotonicNow();
  if (notice.names_not_before > now) std::this_thread::sleep_for(notice.names_not_before - now);
  for (const client::KernelName& name : notice.names) {
    // ENOENT: the kernel has no such name. Else there is nobody left to tell.
    (void)calls_.expire_name(NodeOf(filesystem_, name.directory), name.name);
  }
}

void KernelNotices::RaiseEpoch() {
  epochs_.fetch_add(1);
  const int result = calls_.raise_epoch();
  if (result == 0 || result == -ENOENT || result == -ENODEV) return;
  SHEEN_LOG(Error, "FUSE_NOTIFY_INC_EPOCH: {}", std::strerror(-result));
}

void KernelNotices::AddLaterLocked(const std::vector<client::KernelName>& names, Nanos now) {
  for (const Nanos wait : kAgain) {
    const Nanos at = now + wait;
    const auto place = std::ranges::upper_bound(later_, at, {}, &Later::at);
    later_.insert(place, {at, names});
  }
}

void KernelNotices::StartDueLocked(Nanos now) {
  while (!later_.empty() && later_.front().at <= now) {
    client::KernelNotice notice;
    notice.names = std::move(later_.front().names);
    later_.pop_front();
    AddJobLocked(std::move(notice));
  }
}

std::vector<KernelNotices::JobPtr> KernelNotices::TakeStuckLocked(Nanos now) {
  std::vector<JobPtr> stuck;
  size_t waiting = 0;
  for (const JobPtr& job : running_) {
    if (now - job->begun < kStuck) continue;
    ++waiting;
    if (!job->finished && job->notice.done) stuck.push_back(job);
  }
  // Every thread waits for the kernel: nobody comes to tell what is queued.
  if (waiting == kThreadsMax) stuck.insert(stuck.end(), queue_.begin(), queue_.end());
  std::erase_if(stuck,
                [](const JobPtr& job) { return job->finished || IsDataOnly(job->notice); });
  return stuck;
}

std::vector<KernelNotices::JobPtr> KernelNotices::TakeStuckDataLocked(Nanos now) {
  std::vector<JobPtr> stuck;
  const auto look = [this, &stuck, now](const JobPtr& job) {
    if (job->finished || !job->notice.done || !IsDataOnly(job->notice)) return;
    const bool crossed = filesystem_->kernel()->IsChanging(job->notice.fid);
    if (now - job->added >= (crossed ? kDataCrossed : kDataStuck)) stuck.push_back(job);
  };
  std::ranges::for_each(running_, look);
  std::ranges::for_each(queue_, look);
  return stuck;
}

void KernelNotices::EndStuck(const std::vector<JobPtr>& stuck) {
  std::vector<JobPtr> told;
  for (const JobPtr& job : stuck) {
    // One whose inode is not there yet is looked at again in the next round: nobody else may wait
    // for it here.
    if (!TellAttributes(job->notice)) continue;
    SHEEN_LOG(Debug, "a notice for {} waits for the kernel; all names are asked for again",
              job->notice.fid.ToString());
    told.push_back(job);
  }
  if (told.empty()) return;
  RaiseEpoch();
  for (const JobPtr& job : told) Finish(job);
}

void KernelNotices::Guard() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    Nanos wait = filesystem_->kernel()->Tick(MonotonicNow());
    lock.lock();
    const Nanos now = MonotonicNow();
    StartDueLocked(now);
    const std::vector<JobPtr> stuck = TakeStuckLocked(now);
    const std::vector<JobPtr> stuck_data = TakeStuckDataLocked(now);
    if (!stuck.empty() || !stuck_data.empty()) {
      lock.unlock();
      if (!stuck.empty()) EndStuck(stuck);
      for (const JobPtr& job : stuck_data) Finish(job);
      lock.lock();
    }
    if (!running_.empty() || !queue_.empty()) wait = std::min(wait, kLookAtStuck);
    if (!later_.empty()) wait = std::min(wait, std::max(later_.front().at - now, Nanos(0)));
    if (!stopping_) guard_wake_.wait_for(lock, wait);
  }
}

}  // namespace sheen::fuse
