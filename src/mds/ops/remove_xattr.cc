// remove_xattr: takes one extended attribute away. Errors: kNoData, kNotSupported, kRange.
#include <algorithm>

#include "mds/acl_rows.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status RemoveXattr(OpContext* context, const v1::RemoveXattrRequest& request,
                   v1::RemoveXattrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  if (IsAclName(request.name())) {
    SHEEN_TRY_ASSIGN(const bool removed, RemoveAcl(context, fid, request.name(), &inode));
    if (!removed) return {};
  } else {
    SHEEN_TRY(CheckXattr(*context, inode, request.name(), true));
    SHEEN_TRY_ASSIGN(const bool removed,
                     mdt::RemoveXattr(context->txn, fid, &inode, request.name()));
    if (!removed) return Fail(Errc::kNoData);
  }
  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {&inode});
  inode.ctime_ns = std::max(inode.ctime_ns, time_ns);
  mdt::PutInode(context->txn, fid, inode);
  LogChange(context, {.type = mdt::LogType::kXattr, .fid = fid, .xattr = request.name()});
  reply->set_time_ns(time_ns);
  return {};
}

}  // namespace sheen::mds::ops
