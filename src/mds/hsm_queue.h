// HsmQueue: the restores that were asked for, in memory: what waits, what runs, and for a while
// what became of those that ended. Their rows are what counts after a restart (hsm_coordinator.h).
//
//   request --Add--> waiting --Next--> running --Finish--> gone, and remembered for kRemembered
//                       |                 '-----PutOff---> later --Next (nothing waits)--> running
//                       '---Cancel---> gone      (running: IsCancelled, its runner finishes it)
//
// A file is in it once: a second request for it changes nothing.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "mdt/repository_records.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::mds {

// Lustre's numbers, as clients send and see them.
enum HsmUserAction : uint32_t { kHsmNone = 0, kHsmRestore = 11, kHsmCancel = 14 };
enum HsmProgressState : uint32_t { kHsmWaiting = 1, kHsmRunning = 2 };

struct HsmQueued {
  mdt::HsmCookie cookie;
  mdt::HsmActionRow row;
};

class HsmQueue final {
 public:
  static constexpr uint64_t kRunningMax = 64;
  static constexpr size_t kWaitingMax = 4'000'000;
  static constexpr Nanos kRemembered = std::chrono::seconds(60);  // as Lustre's grace_delay

  // Called when something may run, under no lock of this; any thread. Null: nobody is.
  void OnWork(std::function<void()> wake);
  // False: full.
  bool HasRoom(size_t actions) const;
  bool Contains(const Fid& fid) const;
  std::optional<mdt::HsmCookie> FindWaiting(const Fid& fid) const;
  void Add(std::vector<HsmQueued> actions);
  // The next one, which runs from now on; nullopt: nothing is to be done now, or enough run.
  std::optional<HsmQueued> Next(Nanos now);
  // It cannot be done now: again at `not_before`, behind all that wait.
  void PutOff(const HsmQueued& action, Nanos not_before);
  // When Next() may have something that it has not now; nullopt: no such time is known.
  std::optional<Nanos> NextAt() const;
  void NoteBytes(const Fid& fid, uint64_t bytes);
  void Finish(const HsmQueued& action, const Status& result, Nanos now);
  // Waiting: taken out, and given back for its row. Running: it is told.
  std::optional<HsmQueued> Cancel(const Fid& fid);
  bool IsCancelled(const Fid& fid) const;

  // `action`, `action_state`, `action_bytes` and `failure` of a file.
  void Describe(const Fid& fid, Nanos now, v1::HsmStateReply* out) const;
  v1::HsmJobReply Job(uint64_t job) const;
  // A line for each, in the form of Lustre's hsm.actions; at most `lines_max`.
  std::string ActionsText(size_t lines_max) const;
  struct Counts {
    uint64_t waiting = 0;
    uint64_t running = 0;
  };
  Counts counts() const;
  void SetRunningMax(uint64_t running_max);
  uint64_t running_max() const;

 private:
  struct Running {
    HsmQueued action;
    uint64_t bytes = 0;
    bool cancelled = false;
  };
  struct Ended {
    std::string reason;
    Nanos at{0};
  };
  struct JobCount {
    uint64_t waiting = 0;
    uint64_t running = 0;
    uint64_t done = 0;
    uint64_t failed = 0;
    uint64_t bytes = 0;
    std::deque<v1::HsmJobReply::Failure> failures;
  };
  static std::string LineOf(const HsmQueued& action, std::string_view status);
  void DropOldJobs();
  void CallWake();

  std::mutex wake_mutex_;  // guards wake_, also while it runs
  std::function<void()> wake_;
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<mdt::HsmCookie, mdt::HsmActionRow> waiting_;
  std::map<std::pair<Nanos, mdt::HsmCookie>, mdt::HsmActionRow> later_;
  std::unordered_map<Fid, std::pair<Nanos, mdt::HsmCookie>> later_by_fid_;
  std::unordered_map<Fid, mdt::HsmCookie> waiting_by_fid_;
  std::unordered_map<Fid, Running> running_;
  std::map<Fid, Ended> failed_;
  std::map<uint64_t, JobCount> jobs_;
  std::deque<uint64_t> ended_jobs_;
  uint64_t running_max_ = kRunningMax;
};

}  // namespace sheen::mds
