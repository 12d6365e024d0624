#include "mds/op_stats.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>

#include "base/log.h"
#include "base/slow.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::mds {
namespace {

using rpc::Opcode;

// Lustre's names first; then what it counts elsewhere or does not have.
enum Op : size_t {
  kOpen,
  kClose,
  kMknod,
  kLink,
  kUnlink,
  kMkdir,
  kRmdir,
  kRename,
  kGetattr,
  kSetattr,
  kGetxattr,
  kSetxattr,
  kStatfs,
  kSync,
  kSamedirRename,
  kCrossdirRename,
  kCreate,
  kLookup,
  kReaddir,
  kReadlink,
  kListxattr,
  kRemovexattr,
  kGetLayout,
  kSetLayout,
  kInstantiate,
  kFid2path,
  kFlock,
  kReportSize,
  kLockCancel,
  kOther
};

constexpr std::string_view kWaitNames[kWaitKinds] = {"wait_latch",   "wait_lock", "wait_store",
                                                     "wait_clients", "wait_osts", "wait_commit",
                                                     "wait_s3"};
constexpr std::string_view kWaitWords[kWaitKinds] = {
    "another operation on the same inode", "clients giving back locks",
    "the metadata store's disk",           "known clients coming back after the restart",
    "OSTs reporting after the restart",    "the sync of the log",
    "S3, for owner and mode"};

std::vector<TallySpec> WaitSpecs() {
  std::vector<TallySpec> specs;
  for (const std::string_view name : kWaitNames) specs.push_back({name});
  return specs;
}

std::vector<TallySpec> OperationSpecs() {
  return {{"open"},        {"close"},       {"mknod"},          {"link"},
          {"unlink"},      {"mkdir"},       {"rmdir"},          {"rename"},
          {"getattr"},     {"setattr"},     {"getxattr"},       {"setxattr"},
          {"statfs"},      {"sync"},        {"samedir_rename"}, {"crossdir_rename"},
          {"create"},      {"lookup"},      {"readdir"},        {"readlink"},
          {"listxattr"},   {"removexattr"}, {"get_layout"},     {"set_layout"},
          {"instantiate"}, {"fid2path"},    {"flock"},          {"report_size"},
          {"lock_cancel"}, {"other"}};
}

Op OpOf(Opcode opcode) {
  switch (opcode) {
    case Opcode::kMdsOpen:
      return kOpen;
    case Opcode::kMdsCreate:
      return kCreate;
    case Opcode::kMdsClose:
      return kClose;
    case Opcode::kMdsMakeNode:
      return kMknod;
    case Opcode::kMdsLink:
      return kLink;
    case Opcode::kMdsUnlink:
      return kUnlink;
    case Opcode::kMdsRemoveDir:
      return kRmdir;
    case Opcode::kMdsRename:
      return kRename;
    case Opcode::kMdsGetAttr:
      return kGetattr;
    case Opcode::kMdsLookup:
      return kLookup;
    case Opcode::kMdsSetAttr:
      return kSetattr;
    case Opcode::kMdsGetXattr:
      return kGetxattr;
    case Opcode::kMdsSetXattr:
      return kSetxattr;
    case Opcode::kMdsListXattr:
      return kListxattr;
    case Opcode::kMdsRemoveXattr:
      return kRemovexattr;
    case Opcode::kMdsStatFs:
      return kStatfs;
    case Opcode::kMdsSync:
      return kSync;
    case Opcode::kMdsReadDir:
      return kReaddir;
    case Opcode::kMdsReadLink:
      return kReadlink;
    case Opcode::kMdsGetLayout:
      return kGetLayout;
    case Opcode::kMdsSetLayout:
      return kSetLayout;
    case Opcode::kMdsInstantiate:
      return kInstantiate;
    case Opcode::kMdsFidToPath:
      return kFid2path;
    case Opcode::kMdsReportSize:
      return kReportSize;
    case Opcode::kMdsLockCancel:
      return kLockCancel;
    case Opcode::kMdsFileLockGet:
    case Opcode::kMdsFileLockSet:
    case Opcode::kMdsFileLockCancel:
      return kFlock;
    default:
      return kOther;
  }
}

bool MakesDirectory(std::string_view body) {
  v1::MakeNodeRequest request;
  return request.ParseFromArray(body.data(), static_cast<int>(body.size())) &&
         S_ISDIR(request.mode());
}

bool StaysInDirectory(std::string_view body) {
  v1::RenameRequest request;
  return request.ParseFromArray(body.data(), static_cast<int>(body.size())) &&
         request.old_parent().seq() == request.new_parent().seq() &&
         request.old_parent().oid() == request.new_parent().oid();
}

void LogSlow(const rpc::FrameHeader& header, const rpc::Session* session, const WaitTimes& waits,
             Nanos took, const Status& status) {
  const auto longest = std::ranges::max_element(waits.took);
  std::string why = "no wait; the operation itself took so long";
  if (*longest > Nanos(0)) {
    const size_t kind = static_cast<size_t>(longest - waits.took.begin());
    why = fmt::format("waited on {} for {:.3f} s", kWaitWords[kind], SecondsOf(*longest));
    const bool has_fid = kind <= static_cast<size_t>(Wait::kLock) && waits.fid.Valid();
    if (has_fid) why += " (" + waits.fid.ToString() + ")";
  }
  SHEEN_LOG(Warn, "slow operation: {} of client {} took {:.3f} s: {}{}", rpc::NameOf(header.opcode),
            session == nullptr ? "?" : session->client_uuid().ToString(), SecondsOf(took), why,
            status ? "" : "; it failed: " + status.error().ToString());
}

}  // namespace

OpStats::OpStats()
    : operations_(OperationSpecs()),
      waits_(WaitSpecs()),
      jobs_(OperationSpecs()),
      users_(OperationSpecs()) {}

void OpStats::Note(const rpc::FrameHeader& header, std::string_view body,
                   const rpc::Session* session, const WaitTimes& waits, Nanos took,
                   const Status& status, int64_t now_ns) {
  const auto micros = static_cast<uint64_t>(std::max<int64_t>(took.count() / 1000, 0));
  Op op = OpOf(header.opcode);
  if (op == kMknod && MakesDirectory(body)) op = kMkdir;
  operations_.Record(op, micros);
  const auto origin = session == nullptr ? std::nullopt : session->FindOrigin(header.credential);
  if (origin) {
    users_.Record(fmt::format_int(origin->uid).c_str(), op, micros, now_ns);
    if (!origin->job_id.empty()) jobs_.Record(origin->job_id, op, micros, now_ns);
  }
  if (op == kRename) {
    operations_.Record(StaysInDirectory(body) ? kSamedirRename : kCrossdirRename, micros);
  }
  for (size_t kind = 0; kind < kWaitKinds; ++kind) {
    if (waits.took[kind] > Nanos(0)) {
      waits_.Record(kind, static_cast<uint64_t>(waits.took[kind].count() / 1000));
    }
  }
  if (took >= SlowAfter()) LogSlow(header, session, waits, took, status);
}

void OpStats::Clear(int64_t now_ns) {
  operations_.Clear(now_ns);
  waits_.Clear(now_ns);
}

}  // namespace sheen::mds
