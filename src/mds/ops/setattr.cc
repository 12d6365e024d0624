// setattr: mode, owner, group, times; and the trace of a truncate, whose bytes the client cut off
// at the OSTs itself.
//
// The rules are those of notify_change() in Linux: only the owner changes modes and sets times;
// only the superuser gives files away; an owner may give a group that he is in; set-id bits go with
// a change of owner, and with a truncate by anyone but the superuser. Errors: kIsDirectory
// (truncate).
#include <sys/stat.h>

#include <algorithm>

#include "layout/layout.h"
#include "mds/acl_rows.h"
#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

constexpr uint32_t kKnownBits =
    v1::SET_MODE | v1::SET_UID | v1::SET_GID | v1::SET_ATIME | v1::SET_MTIME | v1::SET_TRUNCATED;

bool Has(const v1::SetAttrRequest& request, uint32_t bits) { return (request.valid() & bits) != 0; }

Status CheckTimes(const OpContext& context, const v1::SetAttrRequest& request, const Fid& fid,
                  const mdt::Inode& inode) {
  const rpc::Credential& who = *context.credential;
  if (IsOwner(inode, who)) return {};
  const bool given = (Has(request, v1::SET_ATIME) && !request.atime_now()) ||
                     (Has(request, v1::SET_MTIME) && !request.mtime_now());
  // A reader's client brings the access time along with its handle (relatime).
  const bool reader = !Has(request, v1::SET_MTIME) && request.handle() != 0 &&
                      context.core->handles.Find(fid, context.session_id(), request.handle());
  if (given && !reader) return Fail(Errc::kPerm);
  return reader ? Status() : CheckAccess(inode, who, kAccessWrite);
}

Status CheckTruncate(const OpContext& context, const v1::SetAttrRequest& request, const Fid& fid,
                     const mdt::Inode& inode) {
  if (inode.IsDirectory()) return Fail(Errc::kIsDirectory);
  if (!inode.IsRegular()) return Fail(Errc::kInvalid, "not a regular file");
  const auto open = context.core->handles.Find(fid, context.session_id(), request.handle());
  if (open && open->write) return {};
  return CheckAccess(inode, *context.credential, kAccessWrite);
}

Status CheckOwners(const OpContext& context, const v1::SetAttrRequest& request,
                   const mdt::Inode& inode) {
  const rpc::Credential& who = *context.credential;
  if (IsSuperuser(who)) return {};
  if (Has(request, v1::SET_UID) && (who.uid != inode.uid || request.uid() != inode.uid)) {
    return Fail(Errc::kPerm);
  }
  const bool own_group = request.gid() == inode.gid || InGroup(who, request.gid());
  if (Has(request, v1::SET_GID) && (who.uid != inode.uid || !own_group)) return Fail(Errc::kPerm);
  return {};
}

Status Check(const OpContext& context, const v1::SetAttrRequest& request, const Fid& fid,
             const mdt::Inode& inode) {
  if ((request.valid() & ~kKnownBits) != 0) return Fail(Errc::kInvalid, "unknown attribute bits");
  if (Has(request, v1::SET_MODE) && !IsOwner(inode, *context.credential)) {
    return Fail(Errc::kPerm);
  }
  SHEEN_TRY(CheckOwners(context, request, inode));
  if (Has(request, v1::SET_ATIME | v1::SET_MTIME)) {
    SHEEN_TRY(CheckTimes(context, request, fid, inode));
  }
  if (Has(request, v1::SET_TRUNCATED)) SHEEN_TRY(CheckTruncate(context, request, fid, inode));
  return {};
}

void ChangeMode(const OpContext& context, const v1::SetAttrRequest& request, mdt::Inode* inode) {
  const rpc::Credential& who = *context.credential;
  if (Has(request, v1::SET_MODE)) {
    uint32_t mode = request.mode() & 07777;
    if (!inode->IsDirectory() && !IsSuperuser(who) && !InGroup(who, inode->gid)) {
      mode &= ~static_cast<uint32_t>(S_ISGID);
    }
    inode->mode = (inode->mode & S_IFMT) | mode;
    return;
  }
  const bool owners = Has(request, v1::SET_UID | v1::SET_GID);
  const bool truncated = Has(request, v1::SET_TRUNCATED) && !IsSuperuser(who);
  if (!inode->IsDirectory() && (owners || truncated)) inode->mode = WithoutSetIds(inode->mode);
}

// The objects learn their new owner from the outbox, later writes carry the raised generation.
// True when the layout changed.
Result<bool> ChangeOwner(OpContext* context, const v1::SetAttrRequest& request,
                         mdt::Inode* inode) {
  const uint32_t uid = Has(request, v1::SET_UID) ? request.uid() : inode->uid;
  const uint32_t gid = Has(request, v1::SET_GID) ? request.gid() : inode->gid;
  if (uid == inode->uid && gid == inode->gid) return false;
  inode->uid = uid;
  inode->gid = gid;
  if (!inode->IsRegular() || inode->layout.empty()) return false;
  SHEEN_TRY_ASSIGN(layout::Layout layout, layout::Decode(inode->layout));
  SHEEN_TRY(RaiseGeneration(&layout));
  inode->layout = layout::Encode(layout);
  mdt::AddOutbox(context->txn, layout,
                 {.kind = mdt::OutboxRow::Kind::kSetOwner,
                  .uid = uid,
                  .gid = gid,
                  .project_id = inode->project_id,
                  .layout_generation = layout.generation});
  context->outbox = true;
  return true;
}

// One record: of the first type among what was set that somebody asked for. Its flags are Lustre's
// bits of attributes.
Status Log(OpContext* context, const v1::SetAttrRequest& request, const Fid& fid) {
  constexpr uint16_t kAtimeBit = 1, kMtimeBit = 2, kCtimeBit = 4, kSizeBit = 8, kModeBit = 16,
                     kUidBit = 32, kGidBit = 64;
  uint16_t flags = kCtimeBit;
  if (Has(request, v1::SET_ATIME)) flags |= kAtimeBit;
  if (Has(request, v1::SET_MTIME | v1::SET_TRUNCATED)) flags |= kMtimeBit;
  if (Has(request, v1::SET_TRUNCATED)) flags |= kSizeBit;
  if (Has(request, v1::SET_MODE)) flags |= kModeBit;
  if (Has(request, v1::SET_UID)) flags |= kUidBit;
  if (Has(request, v1::SET_GID)) flags |= kGidBit;
  constexpr std::pair<uint16_t, mdt::LogType> kTypes[] = {
      {kSizeBit, mdt::LogType::kTruncate},
      {kModeBit | kUidBit | kGidBit, mdt::LogType::kSetAttr},
      {kMtimeBit, mdt::LogType::kMtime},
      {kCtimeBit, mdt::LogType::kCtime},
      {kAtimeBit, mdt::LogType::kAtime}};
  for (const auto& [bits, type] : kTypes) {
    if ((flags & bits) == 0 || !IsLogged(*context, type)) continue;
    LogEntry entry{.type = type, .flags = flags, .fid = fid};
    if (type == mdt::LogType::kTruncate) {
      SHEEN_TRY_ASSIGN(const auto links, mdt::ListLinks(*context->txn, fid, 1));
      if (!links.empty()) entry.parent = links.front().parent;
    }
    LogChange(context, entry);
    break;
  }
  return {};
}

}  // namespace

Status SetAttr(OpContext* context, const v1::SetAttrRequest& request, v1::SetAttrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  SHEEN_TRY(Check(*context, request, fid, inode));

  int64_t time_ns = context->TimeFor(request.decided_ctime_ns(), {&inode});
  if (request.ctime_seen_ns() > 0) {
    time_ns = std::max(time_ns, SaneTime(*context, request.ctime_seen_ns()) + 1);
  }
  ChangeMode(*context, request, &inode);
  if (Has(request, v1::SET_MODE)) SHEEN_TRY(FollowMode(context, fid, &inode));
  SHEEN_TRY_ASSIGN(const bool new_layout, ChangeOwner(context, request, &inode));
  if (Has(request, v1::SET_ATIME)) {
    inode.atime_ns = request.atime_now() ? time_ns : request.atime_ns();
  }
  // The caller has written since.
  const int64_t seen_ns = SaneTime(*context, request.ctime_seen_ns());
  if (seen_ns > inode.ctime_ns) SetMtime(seen_ns, false, &inode);
  if (Has(request, v1::SET_TRUNCATED)) SetMtime(time_ns, false, &inode);
  if (Has(request, v1::SET_MTIME)) {
    const bool now = request.mtime_now();
    SetMtime(now ? time_ns : request.mtime_ns(), !now, &inode);
  }
  inode.ctime_ns = std::max(inode.ctime_ns, time_ns);
  mdt::PutInode(context->txn, fid, inode,
                new_layout ? lock::kAttrBits | lock::kLayout : lock::kAttrBits);
  SHEEN_TRY(Log(context, request, fid));
  // An unsafe size only to whom alone changes it: as after create.
  if (!inode.size_unsafe() || context->IsSoleWriter(inode)) {
    context->GrantAfter(fid, lock::kAttrBits);
  }
  FillAttr(fid, inode, false, reply->mutable_attr());
  return {};
}

}  // namespace sheen::mds::ops
