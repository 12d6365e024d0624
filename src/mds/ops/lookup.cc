// lookup: the inode behind a name. "." is the directory, ".." its parent (the root's is the root).
//
// Errors: kNoEntry, kNotDirectory, kNameTooLong. Takes no latch: a name is read, then its inode;
// when the inode went in between, both are read again under the directory's latch.
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Status Answer(OpContext* context, const Fid& fid, v1::LookupReply* reply) {
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  FillAttr(fid, inode, false, reply->mutable_attr());
  return {};
}

}  // namespace

Status Lookup(OpContext* context, const v1::LookupRequest& request, v1::LookupReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY_ASSIGN(const mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  const std::string& name = request.name();
  if (name == ".") return Answer(context, parent, reply);
  if (name == "..") return Answer(context, directory.parent, reply);
  SHEEN_TRY(CheckName(name));
  SHEEN_TRY_ASSIGN(mdt::Found found, context->Find(parent, name));
  if (!found.entry) return Fail(Errc::kNoEntry);
  Status answered = Answer(context, found.entry->fid, reply);
  if (answered || answered.error().code() != Errc::kStale) return answered;
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(found, context->Find(parent, name));
  if (!found.entry) return Fail(Errc::kNoEntry);
  answered = Answer(context, found.entry->fid, reply);
  if (!answered && answered.error().code() == Errc::kStale) {
    return Fail(Errc::kCorrupt, "directory " + parent.ToString() + " names " +
                                    found.entry->fid.ToString() + ", which does not exist");
  }
  return answered;
}

}  // namespace sheen::mds::ops
