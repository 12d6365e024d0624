// open: a handle on a file or directory. A writer makes the size unsafe, in a batch.
//
// The answer tells size and size_unsafe as they were just before this open. With `reopen`, a client
// that was known before the server's restart declares a handle again: not checked, and the size
// stays as unsafe as it was. Errors: kIsDirectory (for writing), kLoop (a symbolic link),
// kTextBusy.
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {

Status Open(OpContext* context, const v1::OpenRequest& request, v1::OpenReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  const uint32_t access = AccessOfOpenFlags(request.flags());
  const bool write = (access & kAccessWrite) != 0;
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->GrantedInode(fid, write ? 0 : lock::kAttrBits));
  if (inode.IsDirectory() && write) return Fail(Errc::kIsDirectory);
  if (inode.IsSymlink()) return Fail(Errc::kLoop);
  const bool again = request.reopen() && context->session->earlier_boot.load();
  context->declares_again = again;
  if (!again) {
    SHEEN_TRY(CheckAccess(inode, *context->credential, access));
    SHEEN_TRY(CheckTextBusy(*context, fid, request.flags()));
  }

  FillAttr(fid, inode, true, reply->mutable_attr());
  if (write && inode.IsRegular()) {
    const bool marked =
        again && inode.size_unsafe() && inode.unsafe_session == context->session->writer_id();
    if (!marked) {
      MarkWriter(*context, &inode);
      if (MarkLocallyChanged(&inode)) context->durable = true;
      mdt::PutInode(context->txn, fid, inode);
    }
    reply->mutable_attr()->set_size_epoch(inode.size_epoch);
  }
  if (!again) LogOpen(context, fid, request.flags());
  if (inode.IsRegular() && !again) context->GrantAfter(fid, lock::kLayout);
  AddHandle(context, fid, request.flags(), request.handle());
  return {};
}

}  // namespace sheen::mds::ops
