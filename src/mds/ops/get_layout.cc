// get_layout: a file's layout; a directory's own default, or with `effective` what a new file in it
// gets. Errors: kNoData (none), kInvalid (neither file nor directory).
#include "mds/file_layout.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status GetLayout(OpContext* context, const v1::GetLayoutRequest& request,
                 v1::GetLayoutReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (!inode.IsRegular() && !inode.IsDirectory()) {
    return Fail(Errc::kInvalid, "only files and directories have a layout");
  }
  if (inode.IsDirectory() && request.effective()) {
    SHEEN_TRY_ASSIGN(const Template found, TemplateFor(context, fid, inode));
    reply->set_layout(layout::Encode(found.layout));
    reply->set_inherited(found.inherited);
    return {};
  }
  if (inode.layout.empty()) return Fail(Errc::kNoData, "no layout is set");
  reply->set_layout(inode.layout);
  return {};
}

}  // namespace sheen::mds::ops
