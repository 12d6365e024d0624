// What opening for writing does to an inode. While its size is unsafe, whoever wants attributes
// asks the OSTs; the mark is in the inode, so that it outlives this server and the writer.
#include "base/open_flags.h"
#include "layout/layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"
#include "mdt/repository_records.h"

namespace sheen::mds::ops {
namespace {

constexpr int64_t kNearNs = 60'000'000'000;

}  // namespace

void AddHandle(OpContext* context, const Fid& fid, uint32_t flags, uint64_t handle) {
  const OpenHandle open{.session = context->session_id(),
                        .handle = handle,
                        .write = (AccessOfOpenFlags(flags) & kAccessWrite) != 0,
                        .execute = (flags & kOpenForExecution) != 0,
                        .log_flags = LogOpenFlags(flags)};
  context->handle_change = {OpContext::HandleChange::Kind::kAdd, fid, open};
}

void LogOpen(OpContext* context, const Fid& fid, uint32_t flags) {
  const uint16_t log_flags = LogOpenFlags(flags);
  LogChange(context, {.type = mdt::LogType::kOpen,
                      .flags = log_flags,
                      .fid = fid,
                      .open_mode = log_flags & 7U});
}

Status CheckTextBusy(const OpContext& context, const Fid& fid, uint32_t flags) {
  const bool write = (AccessOfOpenFlags(flags) & kAccessWrite) != 0;
  const bool execute = (flags & kOpenForExecution) != 0;
  if (!write && !execute) return {};
  const auto others = context.core->handles.OfOtherSessions(fid, context.session_id());
  if (write && others.execute) return Fail(Errc::kTextBusy, "another client runs it");
  if (execute && others.write) return Fail(Errc::kTextBusy, "another client has it open to write");
  return {};
}

void MarkWriter(const OpContext& context, mdt::Inode* inode) {
  ++inode->size_epoch;
  if (!inode->size_unsafe()) {
    inode->flags = static_cast<uint16_t>((inode->flags | mdt::kSizeUnsafe) & ~mdt::kUnsafeShared);
    inode->unsafe_session = context.session->writer_id();
  } else if (inode->unsafe_session != context.session->writer_id()) {
    inode->flags |= mdt::kUnsafeShared;
  }
}

bool MarkLocallyChanged(mdt::Inode* inode) {
  if (inode->extra.empty()) return false;
  Result<mdt::FileSource> source = mdt::DecodeFileSource(inode->extra);
  if (!source || (source->flags & mdt::kHsmDirty) != 0) return false;
  source->flags |= mdt::kHsmDirty;
  inode->extra = mdt::Encode(*source);
  return true;
}

Status ApplyReport(const OpContext& context, const SizeReport& report, mdt::Inode* inode) {
  if (report.size > layout::kFileBytesMax) {
    return Fail(Errc::kInvalid, "a file cannot be " + std::to_string(report.size) + " bytes long");
  }
  inode->size = report.size;
  inode->blocks = SaneBlocks(report.blocks);
  // Behind a clock that was set back the objects' times are the inode's, or soon after.
  const int64_t near_ns = std::min(report.ctime_ns, inode->ctime_ns + kNearNs);
  const int64_t ctime_ns = std::max(SaneTime(context, report.ctime_ns), near_ns);
  if (ctime_ns > inode->ctime_ns) {
    inode->ctime_ns = ctime_ns;
    inode->mtime_ns = report.mtime_ns;
    inode->flags &= static_cast<uint16_t>(~mdt::kMtimeSet);
  } else if ((inode->flags & mdt::kMtimeSet) == 0) {
    // Of writes before a change of mode or name, say.
    inode->mtime_ns = std::max(inode->mtime_ns, SaneTime(context, report.mtime_ns));
  }
  return {};
}

void SetMtime(int64_t mtime_ns, bool given, mdt::Inode* inode) {
  inode->mtime_ns = mtime_ns;
  if (!inode->IsRegular()) return;
  inode->flags = static_cast<uint16_t>(given ? inode->flags | mdt::kMtimeSet
                                             : inode->flags & ~mdt::kMtimeSet);
}

void ClearUnsafe(mdt::Inode* inode) {
  inode->flags &= static_cast<uint16_t>(~(mdt::kSizeUnsafe | mdt::kUnsafeShared));
  inode->unsafe_session = 0;
}

}  // namespace sheen::mds::ops
