#include "mds/operation.h"

#include "base/bytes.h"
#include "mds/ops/ops.h"

namespace sheen::mds {
namespace {

// Between bytes and messages, at the edge: the operations see neither frames nor encodings.
template <class Request, class Reply, Status (*kFunction)(OpContext*, const Request&, Reply*)>
Status RunTyped(OpContext* context, std::string_view body, std::string* out) {
  Request request;
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Fail(Errc::kProtocol, "the request's body is no " + request.GetTypeName());
  }
  Reply reply;
  SHEEN_TRY(kFunction(context, request, &reply));
  out->clear();
  reply.SerializeToString(out);
  return {};
}

#define SHEEN_OPERATION(opcode, request, reply, function) \
  case rpc::Opcode::opcode:                               \
    return &RunTyped<v1::request, v1::reply, &ops::function>

}  // namespace

OperationFunction FindOperation(rpc::Opcode opcode) {
  switch (opcode) {
    SHEEN_OPERATION(kMdsLookup, LookupRequest, LookupReply, Lookup);
    SHEEN_OPERATION(kMdsGetAttr, GetAttrRequest, GetAttrReply, GetAttr);
    SHEEN_OPERATION(kMdsSetAttr, SetAttrRequest, SetAttrReply, SetAttr);
    SHEEN_OPERATION(kMdsCreate, CreateRequest, CreateReply, Create);
    SHEEN_OPERATION(kMdsMakeNode, MakeNodeRequest, MakeNodeReply, MakeNode);
    SHEEN_OPERATION(kMdsLink, LinkRequest, LinkReply, Link);
    SHEEN_OPERATION(kMdsUnlink, UnlinkRequest, UnlinkReply, Unlink);
    SHEEN_OPERATION(kMdsRemoveDir, RemoveDirRequest, RemoveDirReply, RemoveDir);
    SHEEN_OPERATION(kMdsRename, RenameRequest, RenameReply, Rename);
    SHEEN_OPERATION(kMdsOpen, OpenRequest, OpenReply, Open);
    SHEEN_OPERATION(kMdsClose, CloseRequest, CloseReply, Close);
    SHEEN_OPERATION(kMdsReadDir, ReadDirRequest, ReadDirReply, ReadDir);
    SHEEN_OPERATION(kMdsReadLink, ReadLinkRequest, ReadLinkReply, ReadLink);
    SHEEN_OPERATION(kMdsGetXattr, GetXattrRequest, GetXattrReply, GetXattr);
    SHEEN_OPERATION(kMdsSetXattr, SetXattrRequest, SetXattrReply, SetXattr);
    SHEEN_OPERATION(kMdsListXattr, ListXattrRequest, ListXattrReply, ListXattr);
    SHEEN_OPERATION(kMdsRemoveXattr, RemoveXattrRequest, RemoveXattrReply, RemoveXattr);
    SHEEN_OPERATION(kMdsGetLayout, GetLayoutRequest, GetLayoutReply, GetLayout);
    SHEEN_OPERATION(kMdsInstantiate, InstantiateRequest, InstantiateReply, Instantiate);
    SHEEN_OPERATION(kMdsSetLayout, SetLayoutRequest, SetLayoutReply, SetLayout);
    SHEEN_OPERATION(kMdsStatFs, StatFsRequest, StatFsReply, StatFs);
    SHEEN_OPERATION(kMdsFidToPath, FidToPathRequest, FidToPathReply, FidToPath);
    SHEEN_OPERATION(kMdsAllocateSequence, AllocateSequenceRequest, AllocateSequenceReply,
                    AllocateSequence);
    SHEEN_OPERATION(kMdsSync, MdsSyncRequest, MdsSyncReply, Sync);
    SHEEN_OPERATION(kMdsClusterMap, ClusterMapRequest, ClusterMap, GetClusterMap);
    SHEEN_OPERATION(kMdsLockCancel, LockList, LockCancelReply, LockCancel);
    SHEEN_OPERATION(kMdsHsmState, HsmStateRequest, HsmStateReply, HsmState);
    SHEEN_OPERATION(kMdsHsmSet, HsmSetRequest, HsmSetReply, HsmSet);
    SHEEN_OPERATION(kMdsHsmRelease, HsmReleaseRequest, HsmReleaseReply, HsmRelease);
    SHEEN_OPERATION(kMdsHsmRequest, HsmRequest, HsmRequestReply, HsmRequest);
    SHEEN_OPERATION(kMdsHsmJob, HsmJobRequest, HsmJobReply, HsmJob);
    SHEEN_OPERATION(kMdsLayoutHold, LayoutHoldRequest, LayoutHoldReply, LayoutHold);
    SHEEN_OPERATION(kMdsSwapLayouts, SwapLayoutsRequest, SwapLayoutsReply, SwapLayouts);
    SHEEN_OPERATION(kMdsReportSize, ReportSizeRequest, ReportSizeReply, ReportSize);
    SHEEN_OPERATION(kMdsReadChangelog, ReadChangelogRequest, ReadChangelogReply, ReadChangelog);
    SHEEN_OPERATION(kMdsClearChangelog, ClearChangelogRequest, ClearChangelogReply,
                    ClearChangelog);
    default:
      return nullptr;
  }
}

#undef SHEEN_OPERATION

Status ReapOrphan(OpContext* context, std::string_view body, std::string* /*reply*/) {
  const Fid fid = Fid::FromKey(body);
  SHEEN_TRY(context->Latch(fid));
  Core& core = *context->core;
  if (core.handles.IsOpen(fid) || core.recovery.HandlesUnknown(core.Now())) return {};
  // Also called for files that have a name: whatever an ended session had open.
  SHEEN_TRY_ASSIGN(const auto row, context->txn->Get(mdt::kOrphans, mdt::InodeKey(fid)));
  if (!row) return {};
  SHEEN_TRY_ASSIGN(const std::optional<mdt::Inode> inode, mdt::FindInode(*context->txn, fid));
  if (inode && inode->nlink > 0) {
    return Fail(Errc::kCorrupt, fid.ToString() +
                                    " is in the table of files without a name, but "
                                    "has a link count");
  }
  mdt::RemoveOrphan(context->txn, fid);
  if (inode) SHEEN_TRY(DestroyInode(context, fid, *inode));
  return {};
}

std::string DropHandleBody(const Fid& fid, uint64_t session, uint64_t handle) {
  std::string body = mdt::InodeKey(fid);
  AppendBig64(&body, session);
  AppendBig64(&body, handle);
  return body;
}

Status DropHandle(OpContext* context, std::string_view body, std::string* /*reply*/) {
  const Fid fid = Fid::FromKey(body);
  const char* numbers = body.data() + Fid::kKeyBytes;
  SHEEN_TRY(context->Latch(fid));
  const uint64_t session = LoadBig64(numbers);
  const uint64_t handle = LoadBig64(numbers + 8);
  const auto open = context->core->handles.Find(fid, session, handle);
  if (open && open->write) {
    LogChange(context, {.type = mdt::LogType::kClose, .flags = open->log_flags, .fid = fid});
  }
  context->handle_change = {OpContext::HandleChange::Kind::kRemove, fid, {session, handle, false}};
  return {};
}

}  // namespace sheen::mds
