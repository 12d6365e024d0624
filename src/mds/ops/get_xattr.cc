// get_xattr: one extended attribute. Errors: kNoData, kNotSupported, kRange (name too long).
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status GetXattr(OpContext* context, const v1::GetXattrRequest& request, v1::GetXattrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  SHEEN_TRY(CheckXattr(*context, inode, request.name(), false));
  // security.capability is asked for at every write: the inode alone answers for most files.
  if (inode.xattr_count == 0) return Fail(Errc::kNoData);
  SHEEN_TRY_ASSIGN(std::optional<std::string> value,
                   mdt::FindXattr(*context->txn, fid, request.name()));
  if (!value) return Fail(Errc::kNoData);
  reply->set_value(std::move(*value));
  return {};
}

}  // namespace sheen::mds::ops
