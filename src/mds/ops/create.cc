// create: a regular file and its open handle, in one batch. The first component of its layout gets
// its OSTs here. Of an existing file only the handle is made (O_TRUNC is the client's to do).
//
// With O_TMPFILE in its flags and an empty name: an open file of that directory's kind without a
// name. Link gives it one, unless O_EXCL forbids that; else it goes with its last handle.
//
// The size is unsafe from now on; the answer still says what it is at this moment (0 bytes, safe),
// so that the client need not ask the OSTs for a file that has no objects.
// An existing name that is no regular file is answered with its attributes and not opened.
// Errors: kExists (O_EXCL), kIsDirectory, kLoop (a symbolic link), kNoSpace, kNameTooLong.
#include <fcntl.h>
#include <sys/stat.h>

#include "mds/acl_rows.h"
#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Status OpenExisting(OpContext* context, const v1::CreateRequest& request, const Fid& fid,
                    v1::CreateReply* reply) {
  if ((request.open_flags() & O_EXCL) != 0) return Fail(Errc::kExists);
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  if (inode.IsDirectory()) return Fail(Errc::kIsDirectory);
  if (inode.IsSymlink()) return Fail(Errc::kLoop);
  const uint32_t access = AccessOfOpenFlags(request.open_flags());
  SHEEN_TRY(CheckAccess(inode, *context->credential, access));
  SHEEN_TRY(CheckTextBusy(*context, fid, request.open_flags()));
  FillAttr(fid, inode, true, reply->mutable_attr());
  if (!inode.IsRegular()) return {};
  if ((access & kAccessWrite) != 0) {
    MarkWriter(*context, &inode);
    if (MarkLocallyChanged(&inode)) context->durable = true;
    mdt::PutInode(context->txn, fid, inode);
    reply->mutable_attr()->set_size_epoch(inode.size_epoch);
  }
  LogOpen(context, fid, request.open_flags());
  context->GrantAfter(fid, lock::kLayout);
  AddHandle(context, fid, request.open_flags(), request.handle());
  return {};
}

Result<layout::Layout> FirstLayout(OpContext* context, const v1::CreateRequest& request,
                                   const Fid& parent, const mdt::Inode& directory) {
  SHEEN_TRY_ASSIGN(const Template found, TemplateFor(context, parent, directory));
  if (!request.layout_template().empty()) {
    SHEEN_TRY_ASSIGN(const layout::Layout wanted,
                     ParseTemplate(*context, request.layout_template()));
    return NewLayout(wanted, found);
  }
  // Records appended by many go to one object (Lustre: append_stripe_count 1).
  const bool appends = (request.open_flags() & O_APPEND) != 0;
  return NewLayout(appends ? layout::PlainTemplate(1, layout::kStripeBytesDefault) : found.layout,
                   found);
}

Status GiveLayout(OpContext* context, const v1::CreateRequest& request, const Fid& fid,
                  const mdt::Inode& directory, mdt::Inode* inode) {
  if (context->replay && !request.decided_layout().empty()) {
    SHEEN_TRY_ASSIGN(const layout::Layout decided,
                     DecidedLayout(*context, fid, request.decided_layout(), {}));
    inode->layout = layout::Encode(decided);
    return {};
  }
  if (request.delay_layout()) return {};
  SHEEN_TRY_ASSIGN(layout::Layout layout,
                   FirstLayout(context, request, FidOf(request.parent()), directory));
  SHEEN_TRY(InstantiateRange(context, fid, &layout, 0, 1));
  inode->layout = layout::Encode(layout);
  return {};
}

struct Made {
  Fid fid;
  mdt::Inode inode;
  int64_t time_ns = 0;
};

Result<Made> MakeFile(OpContext* context, const v1::CreateRequest& request,
                      const mdt::Inode& directory) {
  const Fid parent = FidOf(request.parent());
  if (directory.nlink == 0) return Fail(Errc::kNoEntry, "the directory was removed");
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessWrite));
  SHEEN_TRY(context->CheckRoom());
  Made made{.fid = FidOf(request.fid()),
            .time_ns = context->TimeFor(request.decided_time_ns(), {&directory})};
  SHEEN_TRY(context->Latch(made.fid));
  SHEEN_TRY(CheckNewFid(*context, made.fid));
  const uint32_t mode = S_IFREG | (request.mode() & 07777);
  made.inode = MakeInode(*context, directory, {.mode = mode, .time_ns = made.time_ns});
  SHEEN_TRY(InheritAcl(context,
                       {.directory_fid = parent, .directory = &directory, .umask = request.umask()},
                       made.fid, &made.inode));
  SHEEN_TRY(GiveLayout(context, request, made.fid, directory, &made.inode));
  return made;
}

void OpenMade(OpContext* context, const v1::CreateRequest& request, Made* made,
              v1::CreateReply* reply) {
  FillAttr(made->fid, made->inode, true, reply->mutable_attr());
  if ((AccessOfOpenFlags(request.open_flags()) & kAccessWrite) != 0) {
    MarkWriter(*context, &made->inode);
    reply->mutable_attr()->set_size_epoch(made->inode.size_epoch);
  }
  mdt::PutInode(context->txn, made->fid, made->inode);
  AddHandle(context, made->fid, request.open_flags(), request.handle());
  reply->set_created(true);
  context->GrantAfter(made->fid, lock::kLayout);
}

Status CreateNameless(OpContext* context, const v1::CreateRequest& request,
                      v1::CreateReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(const mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  SHEEN_TRY_ASSIGN(Made made, MakeFile(context, request, directory));
  made.inode.nlink = 0;
  if ((request.open_flags() & O_EXCL) == 0) made.inode.flags |= mdt::kLinkable;
  mdt::AddOrphan(context->txn, made.fid, made.time_ns);
  OpenMade(context, request, &made, reply);
  return {};
}

}  // namespace

Status Create(OpContext* context, const v1::CreateRequest& request, v1::CreateReply* reply) {
  if (request.has_copy_of()) return CreateCopy(context, request, reply);
  if ((request.open_flags() & O_TMPFILE) == O_TMPFILE && request.name().empty()) {
    return CreateNameless(context, request, reply);
  }
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY(CheckName(request.name()));
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  SHEEN_TRY_ASSIGN(const mdt::Found place, context->Find(parent, request.name()));
  if (place.entry) return OpenExisting(context, request, place.entry->fid, reply);

  SHEEN_TRY_ASSIGN(Made made, MakeFile(context, request, directory));
  const Fid& fid = made.fid;
  SHEEN_TRY_ASSIGN(const uint64_t cookie, AddName(context, &directory, place,
                                                  {.parent = parent,
                                                   .name = request.name(),
                                                   .fid = fid,
                                                   .type = made.inode.DirentType(),
                                                   .decided_cookie = request.decided_cookie()}));
  OpenMade(context, request, &made, reply);
  Touch(&directory, made.time_ns);
  mdt::PutInode(context->txn, parent, directory);
  context->txn->NoteParent(parent);
  LogMade(context, parent, request.name(), fid, made.inode);
  reply->set_cookie(cookie);
  FillAttr(parent, directory, false, reply->mutable_parent_attr());
  context->GrantAfter(parent, lock::kAttrBits);
  // Nobody but the creator can be writing: it knows the size, until another's open takes this back.
  context->GrantAfter(fid, lock::kLookup | lock::kAttrBits);
  return {};
}

}  // namespace sheen::mds::ops
