// getattr: attributes of an inode, with its layout while the size is unsafe (the client asks the
// OSTs then). Takes no latch.
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status GetAttr(OpContext* context, const v1::GetAttrRequest& request, v1::GetAttrReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->GrantedInode(fid, lock::kAttrBits));
  AnswerAttr(*context, fid, inode, reply->mutable_attr());
  return {};
}

}  // namespace sheen::mds::ops
