// read_link: the target of a symbolic link. Errors: kInvalid (not a symbolic link).
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status ReadLink(OpContext* context, const v1::ReadLinkRequest& request, v1::ReadLinkReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  if (!inode.IsSymlink()) return Fail(Errc::kInvalid, "not a symbolic link");
  reply->set_target(std::move(inode.target));
  return {};
}

}  // namespace sheen::mds::ops
