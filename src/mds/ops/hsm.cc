// Files from S3, in the words of Lustre's HSM: their state, its flags, whether their data may be
// dropped, and restores. "Released" is for the OSTs to know; everything else is the inode's.
//
// Errors: kNotSupported (not a file from S3), kPerm (not the owner, or not to be released), kBusy
// (open for writing), kUnavailable (the repository of the file is not linked now).
#include <algorithm>

#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"
#include "mdt/repository_records.h"

namespace sheen::mds {
namespace {

constexpr int kFidsMax = 4096;
constexpr uint32_t kUserFlags = mdt::kHsmNoRelease | mdt::kHsmNoArchive | mdt::kHsmDirty;
constexpr uint32_t kAllFlags = kUserFlags | mdt::kHsmExists | mdt::kHsmArchived | mdt::kHsmLost;

Result<mdt::FileSource> SourceOf(const mdt::Inode& inode) {
  if (!inode.IsRegular() || inode.extra.empty()) {
    return Fail(Errc::kNotSupported, "not a file that was imported from S3");
  }
  return mdt::DecodeFileSource(inode.extra);
}

bool HasSourceLayout(const layout::Layout& layout) {
  return std::ranges::any_of(layout.components,
                             [](const layout::Component& one) { return one.source.has_value(); });
}

Status CheckReleasable(const OpContext& context, const Fid& fid, const mdt::Inode& inode) {
  SHEEN_TRY_ASSIGN(const mdt::FileSource source, SourceOf(inode));
  if (!IsOwner(inode, *context.credential)) return Fail(Errc::kPerm, "not the file's owner");
  if ((source.flags & mdt::kHsmDirty) != 0) {
    return Fail(Errc::kPerm, "it was changed here: S3 does not have it so");
  }
  if ((source.flags & mdt::kHsmNoRelease) != 0) {
    return Fail(Errc::kPerm, "it is kept here: lfs hsm_clear --norelease ends that");
  }
  const bool copied = (source.flags & mdt::kHsmArchived) != 0;
  if (!copied || (source.flags & mdt::kHsmLost) != 0) {
    return Fail(Errc::kPerm, "S3 has no copy of it");
  }
  SHEEN_TRY_ASSIGN(const auto link,
                   context.txn->Get(mdt::kConfig, mdt::RepositoryKey(source.link)));
  if (!link) {
    return Fail(Errc::kPerm, "its data repository is not linked any more: it could not come back");
  }
  Core& core = *context.core;
  const bool writers = core.handles.OthersOf(fid, 0, 0).writers > 0;
  if (writers || inode.size_unsafe()) return Fail(Errc::kBusy, "it is open for writing");
  return {};
}

// What is to be done for one file of a request; nullopt: nothing.
Result<std::optional<mdt::HsmActionRow>> RestoreOf(OpContext* context, const Fid& fid,
                                                   uint64_t job) {
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (inode.IsDirectory()) return Fail(Errc::kIsDirectory);
  if (inode.extra.empty() || inode.layout.empty()) return std::nullopt;
  if (!IsOwner(inode, *context->credential)) {
    SHEEN_TRY(CheckAccess(inode, *context->credential, kAccessRead));
  }
  SHEEN_TRY_ASSIGN(const layout::Layout layout, layout::Decode(inode.layout));
  if (!HasSourceLayout(layout) || context->core->hsm.Contains(fid)) return std::nullopt;
  return mdt::HsmActionRow{
      .action = kHsmRestore, .fid = fid, .job = job, .requested_ns = context->now_ns};
}

Status CancelOf(OpContext* context, const Fid& fid) {
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (!IsOwner(inode, *context->credential)) return Fail(Errc::kPerm);
  const std::optional<mdt::HsmCookie> waiting = context->core->hsm.FindWaiting(fid);
  if (waiting) context->txn->Delete(mdt::kConfig, mdt::HsmActionKey(*waiting));
  context->hsm_cancelled.push_back(fid);
  return {};
}

}  // namespace

namespace ops {

Status HsmState(OpContext* context, const v1::HsmStateRequest& request, v1::HsmStateReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (!inode.IsRegular() || inode.extra.empty()) return {};
  SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode.extra));
  reply->set_flags(source.flags & kAllFlags);
  reply->set_archive_id(source.link);
  reply->set_key(source.key);
  reply->set_etag(source.etag);
  reply->set_object_bytes(source.size);
  reply->set_layout(inode.layout);
  context->core->hsm.Describe(fid, context->core->Now(), reply);
  return {};
}

Status HsmSet(OpContext* context, const v1::HsmSetRequest& request, v1::HsmSetReply* /*reply*/) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  const uint32_t changed = request.set() | request.clear();
  if ((changed & ~kAllFlags) != 0 || (request.set() & request.clear()) != 0) {
    return Fail(Errc::kInvalid, "flags that cannot be set or cleared so");
  }
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  SHEEN_TRY_ASSIGN(mdt::FileSource source, SourceOf(inode));
  if (!IsOwner(inode, *context->credential)) return Fail(Errc::kPerm);
  // Whoever takes "dirty" away lets an import replace what was changed here.
  const bool others = (changed & ~kUserFlags) != 0 || (request.clear() & mdt::kHsmDirty) != 0;
  if (others && !IsSuperuser(*context->credential)) {
    return Fail(Errc::kPerm, "only root sets exists, archived and lost, and clears dirty");
  }
  if (request.archive_id() != 0 && request.archive_id() != source.link) {
    return Fail(Errc::kInvalid, "the file is of data repository " + std::to_string(source.link));
  }
  const uint32_t flags = (source.flags | request.set()) & ~request.clear();
  if (flags == source.flags) return {};
  source.flags = flags;
  inode.extra = mdt::Encode(source);
  inode.ctime_ns = context->TimeFor(0, {&inode});
  mdt::PutInode(context->txn, fid, inode);
  context->durable = true;
  return {};
}

Status HsmRelease(OpContext* context, const v1::HsmReleaseRequest& request,
                  v1::HsmReleaseReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (context->core->recovery.HandlesUnknown(context->core->Now())) {
    return Fail(Errc::kUnavailable, "it is not known yet who has it open");
  }
  SHEEN_TRY(CheckReleasable(*context, fid, inode));
  reply->set_layout(inode.layout);
  return {};
}

Status HsmRequest(OpContext* context, const v1::HsmRequest& request, v1::HsmRequestReply* reply) {
  const bool cancel = request.action() == kHsmCancel;
  if (!cancel && request.action() != kHsmRestore) {
    return Fail(Errc::kNotSupported, "only restores can be asked for, and cancelled");
  }
  if (request.fids_size() > kFidsMax) return Fail(Errc::kInvalid, "too many files in a request");
  SHEEN_TRY(context->Latch(mdt::Mdt::kHsmLatch));
  if (!cancel) SHEEN_TRY(context->CheckRoom());
  if (!cancel && !context->core->hsm.HasRoom(static_cast<size_t>(request.fids_size()))) {
    return Fail(Errc::kUnavailable, "too many restores are waiting");
  }
  std::vector<mdt::HsmActionRow> rows;
  for (const v1::Fid& wire : request.fids()) {
    Status done;
    const Fid fid = FidOf(wire);
    if (!fid.Valid()) {
      done = Fail(Errc::kInvalid);
    } else if (cancel) {
      done = CancelOf(context, fid);
    } else {
      auto row = RestoreOf(context, fid, request.job());
      const bool twice =
          row && *row && std::ranges::find(rows, fid, &mdt::HsmActionRow::fid) != rows.end();
      if (row && *row && !twice) rows.push_back(**row);
      if (!row) done = std::unexpected(row.error());
    }
    if (!done && done.error().code() == Errc::kWouldBlock) return done;
    reply->add_errc(done ? 0 : static_cast<uint32_t>(done.error().code()));
  }
  reply->set_queued(static_cast<uint32_t>(rows.size()));
  for (const mdt::HsmActionRow& row : rows) {
    const mdt::HsmCookie cookie{context->txn->transno(),
                                static_cast<uint32_t>(context->hsm_added.size())};
    context->txn->Put(mdt::kConfig, mdt::HsmActionKey(cookie), mdt::Encode(row));
    context->hsm_added.push_back({cookie, row});
  }
  context->durable = !rows.empty();
  return {};
}

Status HsmJob(OpContext* context, const v1::HsmJobRequest& request, v1::HsmJobReply* reply) {
  *reply = context->core->hsm.Job(request.job());
  return {};
}

}  // namespace ops

Status LayoutOfSource(OpContext* context, std::string_view body, std::string* reply) {
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(Fid::FromKey(body)));
  reply->clear();
  if (!inode.extra.empty() && inode.IsRegular()) *reply = inode.layout;
  return {};
}

Status DropHsmAction(OpContext* context, std::string_view body, std::string* /*reply*/) {
  context->txn->Delete(mdt::kConfig, std::string(body));
  return {};
}

}  // namespace sheen::mds
