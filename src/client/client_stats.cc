#include "client/client_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/log.h"

namespace sheen::client {
namespace {

using rpc::Opcode;

// The names in the order of the table; Lustre's where it has one.
struct Kind {
  Opcode opcode;
  std::string_view name;
};
constexpr Kind kMdtKinds[] = {{Opcode::kMdsLookup, "mds_getattr_lock"},
                              {Opcode::kMdsGetAttr, "mds_getattr"},
                              {Opcode::kMdsSetAttr, "mds_setattr"},
                              {Opcode::kMdsCreate, "mds_create"},
                              {Opcode::kMdsMakeNode, "mds_mknod"},
                              {Opcode::kMdsLink, "mds_link"},
                              {Opcode::kMdsUnlink, "mds_unlink"},
                              {Opcode::kMdsRemoveDir, "mds_rmdir"},
                              {Opcode::kMdsRename, "mds_rename"},
                              {Opcode::kMdsOpen, "mds_open"},
                              {Opcode::kMdsClose, "mds_close"},
                              {Opcode::kMdsReadDir, "mds_readpage"},
                              {Opcode::kMdsReadLink, "mds_readlink"},
                              {Opcode::kMdsGetXattr, "mds_getxattr"},
                              {Opcode::kMdsSetXattr, "mds_setxattr"},
                              {Opcode::kMdsListXattr, "mds_listxattr"},
                              {Opcode::kMdsRemoveXattr, "mds_removexattr"},
                              {Opcode::kMdsGetLayout, "mds_get_layout"},
                              {Opcode::kMdsInstantiate, "mds_instantiate"},
                              {Opcode::kMdsSetLayout, "mds_set_layout"},
                              {Opcode::kMdsStatFs, "mds_statfs"},
                              {Opcode::kMdsFidToPath, "mds_get_info"},
                              {Opcode::kMdsAllocateSequence, "seq_query"},
                              {Opcode::kMdsSync, "mds_sync"},
                              {Opcode::kMdsClusterMap, "mds_cluster_map"},
                              {Opcode::kMdsReportSize, "mds_report_size"},
                              {Opcode::kMdsLockCancel, "ldlm_cancel"},
                              {Opcode::kMdsFileLockGet, "ldlm_flock_get"},
                              {Opcode::kMdsFileLockSet, "ldlm_flock_enqueue"}};
constexpr Kind kOstKinds[] = {
    {Opcode::kOstRead, "ost_read"},          {Opcode::kOstWrite, "ost_write"},
    {Opcode::kOstGetAttr, "ost_getattr"},    {Opcode::kOstTruncate, "ost_punch"},
    {Opcode::kOstAllocate, "ost_fallocate"}, {Opcode::kOstSync, "ost_sync"},
    {Opcode::kOstSeek, "ost_seek"},          {Opcode::kOstStatFs, "ost_statfs"},
    {Opcode::kOstLockCancel, "ldlm_cancel"}, {Opcode::kOstLockDeclare, "ldlm_declare"}};

enum Common : size_t { kReqWaittime, kReqActive, kReadBytes, kWriteBytes, kCommonCount };

std::vector<TallySpec> SpecsOf(bool is_mdt) {
  std::vector<TallySpec> specs = {{"req_waittime"},
                                  {"req_active", Unit::kRequests},
                                  {"read_bytes", Unit::kBytes},
                                  {"write_bytes", Unit::kBytes}};
  const auto add = [&specs](const auto& kinds) {
    for (const Kind& kind : kinds) specs.push_back({kind.name});
  };
  if (is_mdt) {
    add(kMdtKinds);
  } else {
    add(kOstKinds);
  }
  specs.push_back({"other"});
  return specs;
}

template <size_t N>
size_t PlaceIn(const Kind (&kinds)[N], Opcode opcode) {
  return static_cast<size_t>(std::ranges::find(kinds, opcode, &Kind::opcode) - kinds);
}

// Parts of rpcs().
constexpr size_t kRpcsInFlight = TargetStats::kPagesPerRpc + 1;
constexpr size_t kRpcLatency = kRpcsInFlight + 1;
constexpr uint64_t kPageBytes = 4096;

std::optional<IoSide> SideOf(Opcode opcode) {
  if (opcode == Opcode::kOstRead) return IoSide::kRead;
  if (opcode == Opcode::kOstWrite) return IoSide::kWrite;
  return std::nullopt;
}

}  // namespace

TargetStats::TargetStats(bool is_mdt, uint32_t index)
    : is_mdt_(is_mdt),
      index_(index),
      name_(fmt::format("{}{:04x}", is_mdt ? "MDT" : "OST", index)),
      requests_(SpecsOf(is_mdt)),
      rpcs_({{"pages per rpc"},
             {"rpcs in flight", "rpcs", true},
             {"RPC latency (us)", "count"}}) {}

void TargetStats::NoteBegin(Opcode opcode) {
  in_flight_.Add();
  if (const auto side = SideOf(opcode)) {
    Counter* const level = *side == IoSide::kRead ? &reads_in_flight_ : &writes_in_flight_;
    level->Add();
    rpcs_.Record(kRpcsInFlight, *side, level->value());
  }
}

void TargetStats::NoteEnd(Opcode opcode) {
  in_flight_.Sub();
  if (const auto side = SideOf(opcode)) {
    (*side == IoSide::kRead ? &reads_in_flight_ : &writes_in_flight_)->Sub();
  }
}

std::string TargetStats::RpcStatsText(int64_t now_ns) const {
  return FormatRpcStats(rpcs_,
                        fmt::format("read RPCs in flight:  {}\nwrite RPCs in flight: {}\n",
                                    reads_in_flight_.value(), writes_in_flight_.value()),
                        now_ns);
}

void TargetStats::NoteAnswer(Opcode opcode, Nanos took, uint64_t sent, uint64_t received) {
  const auto micros = static_cast<uint64_t>(std::max<int64_t>(took.count() / 1000, 0));
  requests_.Record(kReqWaittime, micros);
  requests_.Record(kReqActive, in_flight());
  const size_t place = is_mdt_ ? PlaceIn(kMdtKinds, opcode) : PlaceIn(kOstKinds, opcode);
  requests_.Record(kCommonCount + place, micros);
  if (opcode == Opcode::kOstRead) requests_.Record(kReadBytes, received);
  if (opcode == Opcode::kOstWrite) requests_.Record(kWriteBytes, sent);
  if (const auto side = SideOf(opcode)) {
    const uint64_t bytes = *side == IoSide::kRead ? received : sent;
    rpcs_.Record(kPagesPerRpc, *side, (bytes + kPageBytes - 1) / kPageBytes);
    rpcs_.Record(kRpcLatency, *side, micros);
  }
}

TargetStats* ClientStats::Of(bool is_mdt, uint32_t index) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<TargetStats>& stats = targets_[{!is_mdt, index}];
  if (stats == nullptr) stats = std::make_unique<TargetStats>(is_mdt, index);
  return stats.get();
}

std::vector<TargetStats*> ClientStats::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<TargetStats*> all;
  for (const auto& [key, stats] : targets_) all.push_back(stats.get());
  return all;
}

RequestTimer::RequestTimer(ClientStats* stats, TargetStats* target, Opcode opcode, uint64_t sent,
                           const Clock* clock)
    : stats_(stats),
      target_(target),
      opcode_(opcode),
      sent_(sent),
      clock_(clock),
      began_(clock->Monotonic()) {
  target_->NoteBegin(opcode_);
}

RequestTimer::~RequestTimer() {
  target_->NoteEnd(opcode_);
  const Nanos ended = clock_->Monotonic();
  if (ended - began_ < SlowWaits::kWorthNaming) return;
  std::string what = fmt::format("{} to {}", rpc::NameOf(opcode_), target_->name());
  if (!trouble_.empty()) what += " (" + trouble_ + ")";
  if (ended - began_ >= SlowAfter()) {
    SHEEN_LOG(Warn, "slow request: {} took {:.3f} s", what, SecondsOf(ended - began_));
  }
  stats_->slow_waits.Note(std::move(what), began_, ended);
}

void RequestTimer::Answered(uint64_t received) {
  target_->NoteAnswer(opcode_, clock_->Monotonic() - began_, sent_, received);
}

void RequestTimer::Failed(const std::string& why) {
  target_->retries.Add();
  trouble_ = why;
}

}  // namespace sheen::client
