// The operations of the metadata server, one file each. All follow OpContext's rules: run as often
// as needed, change nothing but the context, take the latches of what they change.
//
// Errors of all: kWouldBlock (internal), kInvalid (malformed request), kStale (a FID of the request
// does not exist any more), kAccess and kPerm (credential), kCorrupt, kIo. Files list their own.
#pragma once

#include "layout/layout.h"
#include "mds/op_context.h"

namespace sheen::mds::ops {

Status Lookup(OpContext*, const v1::LookupRequest&, v1::LookupReply*);
Status GetAttr(OpContext*, const v1::GetAttrRequest&, v1::GetAttrReply*);
Status SetAttr(OpContext*, const v1::SetAttrRequest&, v1::SetAttrReply*);
Status Create(OpContext*, const v1::CreateRequest&, v1::CreateReply*);
Status MakeNode(OpContext*, const v1::MakeNodeRequest&, v1::MakeNodeReply*);
Status Link(OpContext*, const v1::LinkRequest&, v1::LinkReply*);
Status Unlink(OpContext*, const v1::UnlinkRequest&, v1::UnlinkReply*);
Status RemoveDir(OpContext*, const v1::RemoveDirRequest&, v1::RemoveDirReply*);
Status Rename(OpContext*, const v1::RenameRequest&, v1::RenameReply*);
Status Open(OpContext*, const v1::OpenRequest&, v1::OpenReply*);
// Whether requests of this kind make handles, and one of those that the server does not know of
// (open_again.cc): `reply` is the answer of before, and is brought up to date.
bool Opens(rpc::Opcode opcode);
Status OpenAgain(OpContext* context, rpc::Opcode opcode, std::string_view body, std::string* reply);
Status Close(OpContext*, const v1::CloseRequest&, v1::CloseReply*);
Status ReadDir(OpContext*, const v1::ReadDirRequest&, v1::ReadDirReply*);
Status ReadLink(OpContext*, const v1::ReadLinkRequest&, v1::ReadLinkReply*);
Status GetXattr(OpContext*, const v1::GetXattrRequest&, v1::GetXattrReply*);
Status SetXattr(OpContext*, const v1::SetXattrRequest&, v1::SetXattrReply*);
Status ListXattr(OpContext*, const v1::ListXattrRequest&, v1::ListXattrReply*);
Status RemoveXattr(OpContext*, const v1::RemoveXattrRequest&, v1::RemoveXattrReply*);
Status GetLayout(OpContext*, const v1::GetLayoutRequest&, v1::GetLayoutReply*);
Status Instantiate(OpContext*, const v1::InstantiateRequest&, v1::InstantiateReply*);
Status SetLayout(OpContext*, const v1::SetLayoutRequest&, v1::SetLayoutReply*);
Status StatFs(OpContext*, const v1::StatFsRequest&, v1::StatFsReply*);
Status FidToPath(OpContext*, const v1::FidToPathRequest&, v1::FidToPathReply*);
Status AllocateSequence(OpContext*, const v1::AllocateSequenceRequest&, v1::AllocateSequenceReply*);
Status Sync(OpContext*, const v1::MdsSyncRequest&, v1::MdsSyncReply*);
Status GetClusterMap(OpContext*, const v1::ClusterMapRequest&, v1::ClusterMap*);
Status LockCancel(OpContext*, const v1::LockList&, v1::LockCancelReply*);
Status ReportSize(OpContext*, const v1::ReportSizeRequest&, v1::ReportSizeReply*);
Status ReadChangelog(OpContext*, const v1::ReadChangelogRequest&, v1::ReadChangelogReply*);
Status ClearChangelog(OpContext*, const v1::ClearChangelogRequest&, v1::ClearChangelogReply*);
Status HsmState(OpContext*, const v1::HsmStateRequest&, v1::HsmStateReply*);
Status HsmSet(OpContext*, const v1::HsmSetRequest&, v1::HsmSetReply*);
Status HsmRelease(OpContext*, const v1::HsmReleaseRequest&, v1::HsmReleaseReply*);
Status HsmRequest(OpContext*, const v1::HsmRequest&, v1::HsmRequestReply*);
Status HsmJob(OpContext*, const v1::HsmJobRequest&, v1::HsmJobReply*);
Status LayoutHold(OpContext*, const v1::LayoutHoldRequest&, v1::LayoutHoldReply*);
Status SwapLayouts(OpContext*, const v1::SwapLayoutsRequest&, v1::SwapLayoutsReply*);
// A create with `copy_of` (create_copy.cc).
Status CreateCopy(OpContext*, const v1::CreateRequest&, v1::CreateReply*);

// Whether the caller may have the bytes of a file moved to other objects. (layout_hold.cc)
Status CheckMayReplaceData(const OpContext& context, const mdt::Inode& inode);
// What is told was seen by a layout of that generation (0: not said), and the file has another
// since. (report_size.cc)
Result<bool> IsOutdated(const mdt::Inode& inode, uint32_t generation);
// Errors: kInvalid (no regular file), kNoData, kNotSupported (its bytes are in S3).
Result<layout::Layout> ReplaceableLayout(const Fid& fid, const mdt::Inode& inode);

// An open's handle, added with the answer.
void AddHandle(OpContext* context, const Fid& fid, uint32_t flags, uint64_t handle);
// For who asked for kOpen.
void LogOpen(OpContext* context, const Fid& fid, uint32_t flags);
// What one client runs no other opens for writing, nor the other way about. Errors: kTextBusy.
Status CheckTextBusy(const OpContext& context, const Fid& fid, uint32_t flags);

// Shared by open, create and close (open_state.cc): marks the size unsafe for a writer, and takes
// it back when the last one closes.
void MarkWriter(const OpContext& context, mdt::Inode* inode);
// A file from S3 that somebody may change from now on. True: it was clean until now, and this must
// be durable before it is answered (S3's version must never silently take the place of a change).
bool MarkLocallyChanged(mdt::Inode* inode);
struct SizeReport {
  uint64_t size = 0;
  uint64_t blocks = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
};
// Takes size and blocks from the OSTs, and the times when their ctime is newer. Errors: kInvalid.
Status ApplyReport(const OpContext& context, const SizeReport& report, mdt::Inode* inode);
void ClearUnsafe(mdt::Inode* inode);
// `given`: by somebody, so that it may be older than what the objects have.
void SetMtime(int64_t mtime_ns, bool given, mdt::Inode* inode);
// A namespace this server keeps: user., trusted., security. `write`: to change. (xattr_rules.cc)
Status CheckXattr(const OpContext& context, const mdt::Inode& inode, std::string_view name,
                  bool write);

}  // namespace sheen::mds::ops
