// The handle of an open or create that an earlier life of the server has executed, and whose client
// has only now its answer: it asks again, and is answered from its reply slot. It did not know the
// handle when it declared those that it has, and meanwhile others may have written and closed, so
// attributes are as of now; of a file that it made, too, which may not be empty any more.
#include <fcntl.h>

#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

struct Opening {
  Fid fid;
  uint32_t flags = 0;
  uint64_t handle = 0;
};

Status Declare(OpContext* context, const Opening& opening, v1::Attr* attr) {
  SHEEN_TRY(context->Latch(opening.fid));
  SHEEN_TRY_ASSIGN(std::optional<mdt::Inode> inode, mdt::FindInode(*context->txn, opening.fid));
  if (!inode) return {};  // whoever uses the handle finds that out
  if (!inode->IsRegular() && !inode->IsDirectory()) return {};
  context->declares_again = true;
  FillAttr(opening.fid, *inode, true, attr);
  if (inode->IsRegular() && (AccessOfOpenFlags(opening.flags) & kAccessWrite) != 0) {
    MarkWriter(*context, &*inode);
    mdt::PutInode(context->txn, opening.fid, *inode);
    attr->set_size_epoch(inode->size_epoch);
  }
  AddHandle(context, opening.fid, opening.flags, opening.handle);
  return {};
}

}  // namespace

bool Opens(rpc::Opcode opcode) {
  return opcode == rpc::Opcode::kMdsOpen || opcode == rpc::Opcode::kMdsCreate;
}

Status OpenAgain(OpContext* context, rpc::Opcode opcode, std::string_view body,
                 std::string* reply) {
  const auto parse = [&](auto* request, auto* answer) -> Status {
    if (request->ParseFromString(std::string(body)) && answer->ParseFromString(*reply)) return {};
    return Fail(Errc::kCorrupt, "a reply slot's row is unreadable");
  };
  if (opcode == rpc::Opcode::kMdsOpen) {
    v1::OpenRequest request;
    v1::OpenReply answer;
    SHEEN_TRY(parse(&request, &answer));
    const Opening opening{FidOf(request.fid()), request.flags(), request.handle()};
    SHEEN_TRY(Declare(context, opening, answer.mutable_attr()));
    *reply = answer.SerializeAsString();
    return {};
  }
  v1::CreateRequest request;
  v1::CreateReply answer;
  SHEEN_TRY(parse(&request, &answer));
  const Opening opening{FidOf(answer.attr().fid()), request.open_flags(), request.handle()};
  SHEEN_TRY(Declare(context, opening, answer.mutable_attr()));
  *reply = answer.SerializeAsString();
  return {};
}

}  // namespace sheen::mds::ops
