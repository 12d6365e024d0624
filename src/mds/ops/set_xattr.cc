// set_xattr: makes or replaces one extended attribute.
//
// Errors: kExists (XATTR_CREATE), kNoData (XATTR_REPLACE), kNoSpace (64 KiB of names; or a larger
// value on a full disk), kNotSupported, kRange (name or value too long).
#include <sys/xattr.h>

#include <algorithm>

#include "mds/acl_rows.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status SetXattr(OpContext* context, const v1::SetXattrRequest& request, v1::SetXattrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  if ((request.flags() & ~static_cast<uint32_t>(XATTR_CREATE | XATTR_REPLACE)) != 0) {
    return Fail(Errc::kInvalid, "unknown setxattr flags");
  }
  if (request.value().size() > mdt::kXattrValueBytesMax) return Fail(Errc::kRange);
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  const bool acl = IsAclName(request.name());
  if (!acl) SHEEN_TRY(CheckXattr(*context, inode, request.name(), true));
  SHEEN_TRY_ASSIGN(const auto before, mdt::FindXattr(*context->txn, fid, request.name()));
  if (before && (request.flags() & XATTR_CREATE) != 0) return Fail(Errc::kExists);
  if (!before && (request.flags() & XATTR_REPLACE) != 0) return Fail(Errc::kNoData);
  if (!before || request.value().size() > before->size()) SHEEN_TRY(context->CheckRoom());
  if (acl) {
    SHEEN_TRY(SetAcl(context, fid, request.name(), request.value(), &inode));
  } else {
    SHEEN_TRY(mdt::PutXattr(context->txn, fid, &inode, request.name(), request.value()));
  }
  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {&inode});
  inode.ctime_ns = std::max(inode.ctime_ns, time_ns);
  mdt::PutInode(context->txn, fid, inode);
  LogChange(context, {.type = mdt::LogType::kXattr, .fid = fid, .xattr = request.name()});
  reply->set_time_ns(time_ns);
  return {};
}

}  // namespace sheen::mds::ops
