#include "oss/op_stats.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/slow.h"

namespace sheen::oss {
namespace {

using rpc::Opcode;

// Lustre's names first; then what it does not have.
enum Op : size_t {
  kReadBytes,
  kWriteBytes,
  kRead,
  kWrite,
  kGetattr,
  kPunch,
  kSync,
  kDestroy,
  kStatfs,
  kPrealloc,
  kSeek,
  kLockCancel,
  kWaitLock,
  kOther
};

Op OpOf(Opcode opcode) {
  switch (opcode) {
    case Opcode::kOstRead:
      return kRead;
    case Opcode::kOstWrite:
      return kWrite;
    case Opcode::kOstGetAttr:
      return kGetattr;
    case Opcode::kOstTruncate:
      return kPunch;
    case Opcode::kOstAllocate:
      return kPrealloc;
    case Opcode::kOstSync:
      return kSync;
    case Opcode::kOstSeek:
      return kSeek;
    case Opcode::kOstStatFs:
      return kStatfs;
    case Opcode::kOstLockCancel:
      return kLockCancel;
    default:
      return kOther;
  }
}

uint64_t Micros(Nanos time) {
  return static_cast<uint64_t>(std::max<int64_t>(time.count() / 1000, 0));
}

std::vector<TallySpec> OperationSpecs() {
  return {{"read_bytes", Unit::kBytes},
          {"write_bytes", Unit::kBytes},
          {"read"},
          {"write"},
          {"getattr"},
          {"punch"},
          {"sync"},
          {"destroy"},
          {"statfs"},
          {"prealloc"},
          {"seek"},
          {"lock_cancel"},
          {"wait_lock"},
          {"other"}};
}

}  // namespace

OpStats::OpStats()
    : operations_(OperationSpecs()),
      io_({{"pages per bulk r/w"}, {"I/O time (1/1000s)", "ios"}, {"disk I/O size", "ios"}}),
      jobs_(OperationSpecs()),
      users_(OperationSpecs()) {}

// A client that does not know kOrigins names nobody, which would count for the superuser.
void OpStats::NoteOrigin(const rpc::Request& request, size_t op, uint64_t micros, uint64_t bytes,
                         int64_t now_ns) {
  const bool named = request.header.credential != 0;
  if (request.peer == nullptr || (request.peer->features() & rpc::kOrigins) == 0) return;
  if (!named && op != kRead && op != kWrite) return;
  const auto origin = request.session->FindOrigin(request.header.credential);
  if (!origin) return;
  const auto record = [&](OriginStats* stats, std::string_view name) {
    stats->Record(name, op, micros, now_ns);
    if (bytes > 0) stats->Record(name, op == kRead ? kReadBytes : kWriteBytes, bytes, now_ns);
  };
  record(&users_, fmt::format_int(origin->uid).c_str());
  if (!origin->job_id.empty()) record(&jobs_, origin->job_id);
}

void OpStats::Note(const rpc::Request& request, const rpc::Response& response,
                   std::string_view target, Nanos lock_wait, Nanos took, int64_t now_ns) {
  const Op op = OpOf(request.header.opcode);
  operations_.Record(op, Micros(took));
  if (lock_wait > Nanos(0)) operations_.Record(kWaitLock, Micros(lock_wait));
  const bool done = response.status == Errc::kOk;
  if (op == kRead && done) operations_.Record(kReadBytes, response.bulk.size());
  if (op == kWrite && done) operations_.Record(kWriteBytes, request.bulk.size());
  const size_t bytes = op == kRead ? response.bulk.size() : request.bulk.size();
  if (done && bytes > 0 && (op == kRead || op == kWrite)) {
    constexpr uint64_t kPageBytes = 4096;
    const IoSide side = op == kRead ? IoSide::kRead : IoSide::kWrite;
    io_.Record(kPages, side, (bytes + kPageBytes - 1) / kPageBytes);
    io_.Record(kMillis, side, Micros(took - std::min(lock_wait, took)) / 1000);
    io_.Record(kBytes, side, bytes);
  }
  NoteOrigin(request, op, Micros(took), done ? bytes : 0, now_ns);
  if (took < SlowAfter()) return;
  const bool by_locks = lock_wait * 2 >= took;
  SHEEN_LOG(Warn,
            "slow operation: {} on {} of client {} took {:.3f} s: waited on {} for {:.3f} s{}",
            rpc::NameOf(request.header.opcode), target,
            request.session == nullptr ? "?" : request.session->client_uuid().ToString(),
            SecondsOf(took), by_locks ? "clients giving back locks" : "the target's disk",
            SecondsOf(by_locks ? lock_wait : took - lock_wait),
            done ? "" : "; it failed: " + response.body);
}

void OpStats::NoteDestroyed(Nanos took) { operations_.Record(kDestroy, Micros(took)); }

uint64_t OpStats::read_bytes() const { return operations_.tally(kReadBytes).sum(); }

uint64_t OpStats::written_bytes() const { return operations_.tally(kWriteBytes).sum(); }

}  // namespace sheen::oss
