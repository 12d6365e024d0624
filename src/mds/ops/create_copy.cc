// create with `copy_of`: an open file without a name, owned as another file that the client has
// open. The bytes of that one are copied there, then the two exchange their layouts (swap_layouts),
// and this one goes with its last handle, its client's session, or after a restart of the server.
//
// Survives power loss before it is answered: no object of it is made that nobody would destroy.
// Errors: kBadHandle (the file is not open), kPerm (neither owner nor may the caller write to it),
// kInvalid (not a regular file), kNoData (it has no layout that could be its copy's), kNoSpace.
#include <fcntl.h>
#include <sys/stat.h>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Result<layout::Layout> WantedLayout(OpContext* context, const v1::CreateRequest& request,
                                    const Fid& original_fid, const mdt::Inode& original) {
  if (request.own_layout()) {
    SHEEN_TRY_ASSIGN(const layout::Layout own, layout::Decode(original.layout));
    if (own.empty()) return Fail(Errc::kNoData, original_fid.ToString() + " has no layout yet");
    return LayoutAfresh(*context, own);
  }
  SHEEN_TRY_ASSIGN(const layout::Layout wanted, ParseTemplate(*context, request.layout_template()));
  SHEEN_TRY_ASSIGN(const Template found, TemplateForFile(context, original_fid));
  return NewLayout(wanted, found);
}

Result<layout::Layout> LayoutOfCopy(OpContext* context, const v1::CreateRequest& request,
                                    const Fid& original_fid, const mdt::Inode& original,
                                    const Fid& fid) {
  if (context->replay && !request.decided_layout().empty()) {
    return DecidedLayout(*context, fid, request.decided_layout(), {});
  }
  SHEEN_TRY_ASSIGN(layout::Layout layout,
                   WantedLayout(context, request, original_fid, original));
  SHEEN_TRY(InstantiateRange(context, fid, &layout, 0, 1));
  return layout;
}

}  // namespace

Status CreateCopy(OpContext* context, const v1::CreateRequest& request, v1::CreateReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid original_fid, ValidFid(request.copy_of()));
  const Fid fid = FidOf(request.fid());
  SHEEN_TRY(context->Latch(original_fid));
  SHEEN_TRY_ASSIGN(const mdt::Inode original, context->Inode(original_fid));
  if (!original.IsRegular()) return Fail(Errc::kInvalid, "not a regular file");
  const bool open =
      context->core->handles.HasOpen(original_fid, context->session_id(), false);
  if (!open && !context->replay) {
    return Fail(Errc::kBadHandle, original_fid.ToString() + " is not open");
  }
  SHEEN_TRY(CheckMayReplaceData(*context, original));
  SHEEN_TRY(context->CheckRoom());
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY(CheckNewFid(*context, fid));
  mdt::Inode inode;
  inode.mode = S_IFREG | 0600;
  inode.uid = original.uid;
  inode.gid = original.gid;
  inode.project_id = original.project_id;
  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {});
  inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = time_ns;
  SHEEN_TRY_ASSIGN(const layout::Layout layout,
                   LayoutOfCopy(context, request, original_fid, original, fid));
  inode.layout = layout::Encode(layout);
  FillAttr(fid, inode, true, reply->mutable_attr());
  MarkWriter(*context, &inode);
  reply->mutable_attr()->set_size_epoch(inode.size_epoch);
  mdt::PutInode(context->txn, fid, inode);
  mdt::AddOrphan(context->txn, fid, time_ns);
  AddHandle(context, fid, O_RDWR, request.handle());
  reply->set_created(true);
  context->GrantAfter(fid, lock::kLayout);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
