#include "mds/hsm_queue.h"

#include <fmt/format.h>

#include <algorithm>

namespace sheen::mds {
namespace {

constexpr size_t kFailuresPerJob = 100;
constexpr size_t kFailuresMax = 10'000;
// Jobs that have ended and are still told of.
constexpr size_t kEndedJobsMax = 256;

}  // namespace

bool HsmQueue::HasRoom(size_t actions) const {
  const std::scoped_lock lock(mutex_);
  return waiting_.size() + later_.size() + actions <= kWaitingMax;
}

void HsmQueue::OnWork(std::function<void()> wake) {
  const std::scoped_lock lock(wake_mutex_);
  wake_ = std::move(wake);
}

void HsmQueue::CallWake() {
  const std::scoped_lock lock(wake_mutex_);
  if (wake_) wake_();
}

std::optional<mdt::HsmCookie> HsmQueue::FindWaiting(const Fid& fid) const {
  const std::scoped_lock lock(mutex_);
  const auto found = waiting_by_fid_.find(fid);
  if (found != waiting_by_fid_.end()) return found->second;
  const auto later = later_by_fid_.find(fid);
  if (later != later_by_fid_.end()) return later->second.second;
  return std::nullopt;
}

// One that was cancelled and still runs is as good as gone: a new request is a new one.
bool HsmQueue::Contains(const Fid& fid) const {
  const std::scoped_lock lock(mutex_);
  if (waiting_by_fid_.contains(fid) || later_by_fid_.contains(fid)) return true;
  const auto running = running_.find(fid);
  return running != running_.end() && !running->second.cancelled;
}

void HsmQueue::Add(std::vector<HsmQueued> actions) {
  if (actions.empty()) return;
  {
    const std::scoped_lock lock(mutex_);
    for (HsmQueued& action : actions) {
      failed_.erase(action.row.fid);
      if (!waiting_by_fid_.emplace(action.row.fid, action.cookie).second) continue;
      if (action.row.job != 0) ++jobs_[action.row.job].waiting;
      waiting_.emplace(action.cookie, action.row);
    }
  }
  CallWake();
}

std::optional<HsmQueued> HsmQueue::Next(Nanos now) {
  const std::scoped_lock lock(mutex_);
  if (running_.size() >= running_max_) return std::nullopt;
  // Asked for again while the one that was cancelled still runs: it comes after that.
  const auto free = [this](const auto& one) { return !running_.contains(one.second.fid); };
  HsmQueued next;
  if (const auto first = std::ranges::find_if(waiting_, free); first != waiting_.end()) {
    next = {first->first, first->second};
    waiting_.erase(first);
    waiting_by_fid_.erase(next.row.fid);
  } else if (!later_.empty() && later_.begin()->first.first <= now && free(*later_.begin())) {
    next = {later_.begin()->first.second, later_.begin()->second};
    later_.erase(later_.begin());
    later_by_fid_.erase(next.row.fid);
  } else {
    return std::nullopt;
  }
  running_[next.row.fid] = {.action = next};
  if (next.row.job != 0) {
    --jobs_[next.row.job].waiting;
    ++jobs_[next.row.job].running;
  }
  return next;
}

void HsmQueue::PutOff(const HsmQueued& action, Nanos not_before) {
  {
    const std::scoped_lock lock(mutex_);
    running_.erase(action.row.fid);
    later_[{not_before, action.cookie}] = action.row;
    later_by_fid_[action.row.fid] = {not_before, action.cookie};
    if (action.row.job != 0) {
      --jobs_[action.row.job].running;
      ++jobs_[action.row.job].waiting;
    }
  }
  CallWake();
}

std::optional<Nanos> HsmQueue::NextAt() const {
  const std::scoped_lock lock(mutex_);
  if (later_.empty() || running_.size() >= running_max_) return std::nullopt;
  return later_.begin()->first.first;
}

void HsmQueue::NoteBytes(const Fid& fid, uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  const auto found = running_.find(fid);
  if (found == running_.end()) return;
  found->second.bytes += bytes;
  const uint64_t job = found->second.action.row.job;
  if (job != 0) jobs_[job].bytes += bytes;
}

void HsmQueue::Finish(const HsmQueued& action, const Status& result, Nanos now) {
  {
    const std::scoped_lock lock(mutex_);
    running_.erase(action.row.fid);
    if (!result) {
      if (failed_.size() >= kFailuresMax) failed_.clear();
      failed_[action.row.fid] = {result.error().message(), now};
    }
    if (action.row.job != 0) {
      JobCount& job = jobs_[action.row.job];
      --job.running;
      if (result) ++job.done;
      if (!result) {
        ++job.failed;
        v1::HsmJobReply::Failure& failure = job.failures.emplace_back();
        failure.mutable_fid()->set_seq(action.row.fid.seq);
        failure.mutable_fid()->set_oid(action.row.fid.oid);
        failure.set_reason(result.error().message());
        if (job.failures.size() > kFailuresPerJob) job.failures.pop_front();
      }
      if (job.waiting + job.running == 0) ended_jobs_.push_back(action.row.job);
      DropOldJobs();
    }
  }
  CallWake();
}

void HsmQueue::DropOldJobs() {
  while (ended_jobs_.size() > kEndedJobsMax) {
    const auto found = jobs_.find(ended_jobs_.front());
    ended_jobs_.pop_front();
    const bool over = found != jobs_.end() && found->second.waiting + found->second.running == 0;
    if (over) jobs_.erase(found);
  }
}

std::optional<HsmQueued> HsmQueue::Cancel(const Fid& fid) {
  const std::scoped_lock lock(mutex_);
  const auto running = running_.find(fid);
  if (running != running_.end()) running->second.cancelled = true;
  HsmQueued action;
  if (const auto found = waiting_by_fid_.find(fid); found != waiting_by_fid_.end()) {
    const auto place = waiting_.find(found->second);
    action = {place->first, place->second};
    waiting_.erase(place);
    waiting_by_fid_.erase(found);
  } else if (const auto later = later_by_fid_.find(fid); later != later_by_fid_.end()) {
    const auto place = later_.find(later->second);
    action = {place->first.second, place->second};
    later_.erase(place);
    later_by_fid_.erase(later);
  } else {
    return std::nullopt;
  }
  if (action.row.job != 0) {
    JobCount& job = jobs_[action.row.job];
    --job.waiting;
    if (job.waiting + job.running == 0) ended_jobs_.push_back(action.row.job);
  }
  return action;
}

bool HsmQueue::IsCancelled(const Fid& fid) const {
  const std::scoped_lock lock(mutex_);
  const auto found = running_.find(fid);
  return found != running_.end() && found->second.cancelled;
}

void HsmQueue::Describe(const Fid& fid, Nanos now, v1::HsmStateReply* out) const {
  const std::scoped_lock lock(mutex_);
  if (const auto found = waiting_by_fid_.find(fid); found != waiting_by_fid_.end()) {
    out->set_action(waiting_.at(found->second).action);
    out->set_action_state(kHsmWaiting);
  } else if (const auto later = later_by_fid_.find(fid); later != later_by_fid_.end()) {
    out->set_action(later_.at(later->second).action);
    out->set_action_state(kHsmWaiting);
  } else if (const auto run = running_.find(fid); run != running_.end()) {
    out->set_action(run->second.action.row.action);
    out->set_action_state(kHsmRunning);
    out->set_action_bytes(run->second.bytes);
  }
  const auto failed = failed_.find(fid);
  if (failed != failed_.end() && now - failed->second.at < kRemembered) {
    out->set_failure(failed->second.reason);
  }
}

v1::HsmJobReply HsmQueue::Job(uint64_t job) const {
  v1::HsmJobReply out;
  const std::scoped_lock lock(mutex_);
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return out;
  const JobCount& counts = found->second;
  out.set_waiting(counts.waiting);
  out.set_running(counts.running);
  out.set_done(counts.done);
  out.set_failed(counts.failed);
  out.set_bytes(counts.bytes);
  for (const v1::HsmJobReply::Failure& failure : counts.failures) *out.add_failures() = failure;
  return out;
}

std::string HsmQueue::LineOf(const HsmQueued& action, std::string_view status) {
  return fmt::format(
      "cookie={:#x}.{} fid={} action=RESTORE extent=0x0-0xffffffffffffffff "
      "status={}\n",
      action.cookie.transno, action.cookie.number, action.row.fid.ToString(), status);
}

std::string HsmQueue::ActionsText(size_t lines_max) const {
  const std::scoped_lock lock(mutex_);
  std::string out;
  size_t lines = 0;
  for (const auto& [fid, running] : running_) {
    if (lines++ < lines_max) out += LineOf(running.action, "STARTED");
  }
  for (const auto& [cookie, row] : waiting_) {
    if (lines++ >= lines_max) break;
    out += LineOf({cookie, row}, "WAITING");
  }
  for (const auto& [place, row] : later_) {
    if (lines++ >= lines_max) break;
    out += LineOf({place.second, row}, "WAITING");
  }
  return out;
}

HsmQueue::Counts HsmQueue::counts() const {
  const std::scoped_lock lock(mutex_);
  return {waiting_.size() + later_.size(), running_.size()};
}

void HsmQueue::SetRunningMax(uint64_t running_max) {
  {
    const std::scoped_lock lock(mutex_);
    running_max_ = running_max;
  }
  CallWake();
}

uint64_t HsmQueue::running_max() const {
  const std::scoped_lock lock(mutex_);
  return running_max_;
}

}  // namespace sheen::mds
