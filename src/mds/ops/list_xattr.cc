// list_xattr: the names of the extended attributes that the caller may see.
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {

Status ListXattr(OpContext* context, const v1::ListXattrRequest& request,
                 v1::ListXattrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (inode.xattr_count == 0) return {};
  SHEEN_TRY_ASSIGN(std::vector<std::string> names, mdt::ListXattrs(*context->txn, fid));
  const bool all = IsSuperuser(*context->credential);
  for (std::string& name : names) {
    if (all || !name.starts_with("trusted.")) reply->add_names(std::move(name));
  }
  return {};
}

}  // namespace sheen::mds::ops
