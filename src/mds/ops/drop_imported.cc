// drop_imported: the MDS's own operation that takes away a name which an import has made, when its
// data repository is removed:
//
//   file, symbolic link   unchanged here, not kept (hsm_set --norelease), under one name, and of
//                         the key that it was imported from: S3 has it
//   directory             made by an import, and empty by now
//
// Everything else stays. List_entries shows a directory to the server itself.
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mdt/repository_records.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

bool MayGo(const mdt::Inode& inode, const v1::DropOrder& order) {
  if (inode.extra.empty()) return false;
  const Result<mdt::FileSource> source = mdt::DecodeFileSource(inode.extra);
  if (!source || source->link != order.repository()) return false;
  if (source->key != order.key()) return false;
  if (!order.etag().empty() && source->etag != order.etag()) return false;
  if (inode.IsDirectory()) return inode.entry_count == 0;
  constexpr uint32_t kStays = mdt::kHsmDirty | mdt::kHsmNoRelease | mdt::kHsmLost;
  return inode.nlink == 1 && (source->flags & kStays) == 0 && !inode.size_unsafe();
}

}  // namespace

Status DropImported(OpContext* context, std::string_view body, std::string* reply) {
  v1::DropOrder order;
  if (!order.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(order.parent()));
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(const mdt::Found found, context->Find(parent, order.name()));
  v1::DropOutcome outcome;
  if (found.entry) {
    SHEEN_TRY(context->Latch(found.entry->fid));
    SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(found.entry->fid));
    outcome.set_dropped(MayGo(inode, order));
    if (outcome.dropped() && inode.IsDirectory()) {
      v1::RemoveDirRequest request;
      *request.mutable_parent() = order.parent();
      request.set_name(order.name());
      v1::RemoveDirReply removed;
      SHEEN_TRY(ops::RemoveDir(context, request, &removed));
    } else if (outcome.dropped()) {
      v1::UnlinkRequest request;
      *request.mutable_parent() = order.parent();
      request.set_name(order.name());
      v1::UnlinkReply unlinked;
      SHEEN_TRY(ops::Unlink(context, request, &unlinked));
    }
  }
  *reply = outcome.SerializeAsString();
  return {};
}

Status ListImported(OpContext* context, std::string_view body, std::string* reply) {
  v1::ListImportedRequest request;
  if (!request.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  v1::ReadDirRequest look;
  *look.mutable_fid() = request.directory();
  look.set_cookie(request.cookie());
  v1::ReadDirReply listed;
  SHEEN_TRY(ops::ReadDir(context, look, &listed));
  v1::ListImportedReply out;
  out.set_cookie(request.cookie());
  out.set_end(listed.end() || listed.entries_size() == 0);
  for (const v1::Entry& entry : listed.entries()) {
    out.set_cookie(entry.cookie());
    SHEEN_TRY_ASSIGN(const auto inode, mdt::FindInode(*context->txn, FidOf(entry.fid())));
    if (!inode) continue;
    v1::ImportedEntry* const imported = out.add_entries();
    imported->set_name(entry.name());
    *imported->mutable_fid() = entry.fid();
    imported->set_directory(inode->IsDirectory());
    if (inode->extra.empty()) continue;
    SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode->extra));
    if (source.link == request.repository()) imported->set_key(source.key);
  }
  *reply = out.SerializeAsString();
  return {};
}

Status ListEntries(OpContext* context, std::string_view body, std::string* reply) {
  v1::ReadDirRequest request;
  if (!request.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  v1::ReadDirReply listed;
  SHEEN_TRY(ops::ReadDir(context, request, &listed));
  *reply = listed.SerializeAsString();
  return {};
}

}  // namespace sheen::mds
