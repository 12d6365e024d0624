// lookup: the inode behind a name. "." is the directory, ".." its parent (the root's is the root).
//
// A name that no import has made yet may be in S3, which is asked then (mds/unlisted.h).
//
// Errors: kNoEntry, kNotDirectory, kNameTooLong. Takes no latch: a name is read, then its inode;
// when the inode went in between, both are read again under the directory's latch.
#include "mds/ops/ops.h"
#include "mds/permission.h"
#include "mds/unlisted.h"

namespace sheen::mds::ops {
namespace {

constexpr uint32_t kBits = lock::kLookup | lock::kAttrBits;

Status Answer(OpContext* context, const Fid& fid, v1::LookupReply* reply) {
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->GrantedInode(fid, kBits));
  AnswerAttr(*context, fid, inode, reply->mutable_attr());
  return {};
}

// The name is read again under the lock that covers it: in between it may have gone.
Result<bool> StillThere(OpContext* context, const Fid& parent, const std::string& name,
                        const Fid& fid) {
  if (context->granted.empty()) return true;
  SHEEN_TRY_ASSIGN(const mdt::Found again, context->Find(parent, name));
  return again.entry && again.entry->fid == fid;
}

Status Absent(OpContext* context, const Fid& parent, const mdt::Inode& directory,
              const std::string& name, v1::LookupReply* reply) {
  std::optional<UnlistedName> unlisted;
  if (context->session != nullptr && !context->replay) {
    SHEEN_TRY_ASSIGN(unlisted, FindUnlisted(context, parent, directory, name));
  }
  Core* const core = context->core;
  if (unlisted && core->unlisted.IsAbsent(unlisted->link, unlisted->key, core->Now())) {
    return Fail(Errc::kNoEntry);  // without a lock: not for long
  }
  if (unlisted) {
    context->unasked.names.push_back({.link = unlisted->link,
                                      .key = std::move(unlisted->key),
                                      .parent = parent,
                                      .name = name});
    return Fail(Errc::kWouldBlock, "S3 is to be asked whether there is such a name");
  }
  if (context->peer == nullptr) return Fail(Errc::kNoEntry);
  if (context->GrantNow(parent, lock::kUpdate)) {
    SHEEN_TRY_ASSIGN(const mdt::Found again, context->Find(parent, name));
    if (again.entry) context->Untell(parent, lock::kUpdate);
    // Made this very moment: no such name is as true.
  }
  reply->set_negative(true);
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
  if (!found.entry) return Absent(context, parent, directory, name, reply);
  Status answered = Answer(context, found.entry->fid, reply);
  if (!answered && answered.error().code() != Errc::kStale) return answered;
  if (answered) {
    SHEEN_TRY_ASSIGN(const bool there, StillThere(context, parent, name, found.entry->fid));
    if (!there) context->Untell(found.entry->fid, kBits);
    return {};
  }
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
