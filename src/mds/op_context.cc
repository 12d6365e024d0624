#include "mds/op_context.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "layout/layout.h"
#include "mds/acl_rows.h"
#include "mds/pending.h"
#include "mds/permission.h"
#include "mds/unlisted.h"
#include "mdt/repository_records.h"

namespace sheen::mds {
namespace {

constexpr uint64_t kDirectoryBytes = 4096;  // what a directory shows as its size
constexpr int64_t kClockSkewMax = std::chrono::nanoseconds(std::chrono::hours(1)).count();

}  // namespace

bool LatchSet::Lock(const Fid& fid) {
  if (std::ranges::find(held_, fid) != held_.end()) return true;
  if (std::ranges::find(known_, fid) == known_.end()) known_.push_back(fid);
  if (!table_->TryLock(fid, owner_)) {
    busy_ = fid;
    return false;
  }
  held_.push_back(fid);
  return true;
}

bool LatchSet::LockKnown() {
  busy_.reset();
  if (known_.empty()) return true;
  std::ranges::sort(known_);
  const std::vector<Fid> wanted = known_;
  return std::ranges::all_of(wanted, [this](const Fid& fid) { return Lock(fid); });
}

void LatchSet::ReleaseAll() {
  for (const Fid& fid : held_) table_->Unlock(fid, owner_);
  held_.clear();
}

void LatchSet::Took(const Fid& fid) { held_.push_back(fid); }

bool OpContext::GrantNow(const Fid& fid, uint32_t bits) {
  if (peer == nullptr) return false;
  if ((bits & lock::kLayout) != 0 && (peer->features() & rpc::kLayoutLocks) == 0) return false;
  if (core->locks->Grant(fid, bits, peer, latches->owner()) == 0) return false;
  granted.push_back({fid, bits});
  return true;
}

// The table keeps it: another request of this client may rely on it already. At worst the client is
// asked for what it does not hold.
void OpContext::Untell(const Fid& fid, uint32_t bits) {
  for (Lock& lock : granted) {
    if (lock.fid == fid) lock.bits &= ~bits;
  }
}

bool OpContext::IsSoleWriter(const mdt::Inode& inode) const {
  return inode.size_unsafe() && (inode.flags & mdt::kUnsafeShared) == 0 && session != nullptr &&
         inode.unsafe_session == session->writer_id();
}

Result<mdt::Inode> OpContext::GrantedInode(const Fid& fid, uint32_t bits) {
  SHEEN_TRY_ASSIGN(mdt::Inode inode, Inode(fid));
  // An unsafe size changes without the MDS; who alone changes it knows it.
  const bool unsafe = inode.size_unsafe() && !IsSoleWriter(inode);
  const uint32_t wanted = unsafe ? bits & lock::kLookup : bits;
  if (wanted == 0 || !GrantNow(fid, wanted)) return inode;
  SHEEN_TRY_ASSIGN(inode, Inode(fid));
  if (inode.size_unsafe() && !IsSoleWriter(inode)) Untell(fid, lock::kAttrBits);
  return inode;
}

Status OpContext::Latch(const Fid& fid) {
  if (latches->Lock(fid)) return {};
  return Fail(Errc::kWouldBlock);
}

Result<mdt::Inode> OpContext::Inode(const Fid& fid) {
  SHEEN_TRY_ASSIGN(std::optional<mdt::Inode> inode, mdt::FindInode(*txn, fid));
  if (!inode) return Fail(Errc::kStale, fid.ToString() + " does not exist any more");
  SHEEN_TRY(CheckAsked(fid, *inode));
  SHEEN_TRY(LoadAcl(*txn, fid, &*inode));
  return std::move(*inode);
}

// What a client brings back or repeats rests on an answer that it had: S3 was asked before that.
Status OpContext::CheckAsked(const Fid& fid, const mdt::Inode& inode) {
  if (session == nullptr || replay || declares_again || !IsPending(inode)) return {};
  SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode.extra));
  if (!unasked.failed) {
    unasked.names.push_back({.fid = fid,
                             .link = source.link,
                             .key = source.key,
                             .etag = source.etag,
                             .modified_ns = source.modified_ns});
  }
  return Fail(Errc::kWouldBlock, "S3 is to be asked for its owner and mode");
}

Result<mdt::Inode> OpContext::Directory(const Fid& fid) {
  SHEEN_TRY_ASSIGN(mdt::Inode inode, Inode(fid));
  if (!inode.IsDirectory()) return Fail(Errc::kNotDirectory);
  return inode;
}

Result<mdt::Found> OpContext::Find(const Fid& parent, std::string_view name) {
  return mdt::FindEntry(*txn, mdt().hash(), parent, name);
}

int64_t OpContext::TimeFor(int64_t decided_ns,
                           std::initializer_list<const mdt::Inode*> inodes) const {
  if (replay && decided_ns > 0) return SaneTime(*this, decided_ns);
  int64_t time_ns = now_ns;
  for (const mdt::Inode* inode : inodes) {
    if (inode != nullptr) time_ns = std::max(time_ns, inode->ctime_ns + 1);
  }
  return time_ns;
}

Fid FidOf(const v1::Fid& fid) { return {fid.seq(), fid.oid(), fid.ver()}; }

void SetFid(const Fid& fid, v1::Fid* out) {
  out->set_seq(fid.seq);
  out->set_oid(fid.oid);
  out->set_ver(fid.ver);
}

Result<Fid> ValidFid(const v1::Fid& fid) {
  const Fid out = FidOf(fid);
  if (!out.Valid()) return Fail(Errc::kInvalid, out.ToString() + " is no valid FID");
  if (out.seq == kDotLustreSequence) return Fail(Errc::kPerm, ".lustre is in the client only");
  return out;
}

Status CheckName(std::string_view name) {
  if (name.size() > mdt::kNameBytesMax) return Fail(Errc::kNameTooLong);
  const bool special = name.empty() || name == "." || name == "..";
  if (special || name.find('/') != name.npos || name.find('\0') != name.npos) {
    return Fail(Errc::kInvalid, "not a valid file name");
  }
  return {};
}

Status CheckNewFid(const OpContext& context, const Fid& fid) {
  if (!fid.Valid() || fid.oid == 0 || fid.seq < kFirstClientSequence ||
      fid.seq >= context.mdt().NextSequence()) {
    return Fail(Errc::kInvalid, fid.ToString() + " is not in a sequence granted to clients");
  }
  SHEEN_TRY_ASSIGN(const std::optional<mdt::Inode> used, mdt::FindInode(*context.txn, fid));
  if (used) return Fail(Errc::kInvalid, fid.ToString() + " is in use; FIDs are never used again");
  return {};
}

void Touch(mdt::Inode* inode, int64_t time_ns) {
  inode->mtime_ns = time_ns;
  inode->ctime_ns = std::max(inode->ctime_ns, time_ns);
}

void FillAttr(const Fid& fid, const mdt::Inode& inode, bool with_layout, v1::Attr* out) {
  SetFid(fid, out->mutable_fid());
  out->set_mode(inode.mode);
  out->set_uid(inode.uid);
  out->set_gid(inode.gid);
  out->set_nlink(inode.nlink);
  out->set_size(inode.IsDirectory() ? kDirectoryBytes : inode.size);
  out->set_blocks(inode.IsDirectory() ? kDirectoryBytes / 512 : inode.blocks);
  out->set_atime_ns(inode.atime_ns);
  out->set_mtime_ns(inode.mtime_ns);
  out->set_ctime_ns(inode.ctime_ns);
  out->set_btime_ns(inode.btime_ns);
  out->set_rdev(inode.rdev);
  out->set_project_id(inode.project_id);
  out->set_has_access_acl((inode.flags & mdt::kHasAccessAcl) != 0);
  out->set_has_default_acl((inode.flags & mdt::kHasDefaultAcl) != 0);
  out->set_no_xattrs(inode.xattr_count == 0);
  out->set_mtime_set((inode.flags & mdt::kMtimeSet) != 0);
  if (!inode.IsRegular()) return;
  out->set_size_unsafe(inode.size_unsafe());
  out->set_size_epoch(inode.size_epoch);
  out->set_has_layout(!inode.layout.empty());
  if (with_layout || inode.size_unsafe()) out->set_layout(inode.layout);
}

void AnswerAttr(const OpContext& context, const Fid& fid, const mdt::Inode& inode, v1::Attr* out) {
  FillAttr(fid, inode, false, out);
  if (!inode.IsRegular() || !inode.size_unsafe()) return;
  Core& core = *context.core;
  const bool writers = core.handles.OthersOf(fid, 0, 0).writers > 0;
  out->set_report_wanted(!writers && !core.recovery.Active(core.Now()));
}

int64_t SaneTime(const OpContext& context, int64_t time_ns) {
  return std::clamp<int64_t>(time_ns, 0, context.now_ns + kClockSkewMax);
}

uint64_t SaneBlocks(uint64_t blocks) {
  constexpr uint64_t kBlockBytes = 512;
  return std::min<uint64_t>(blocks, layout::kFileBytesMax / kBlockBytes);
}

mdt::Inode MakeInode(const OpContext& context, const mdt::Inode& parent, const NewInode& options) {
  mdt::Inode inode;
  inode.mode = options.mode;
  inode.uid = context.credential->uid;
  inode.gid = context.credential->gid;
  inode.project_id = parent.project_id;
  inode.nlink = inode.IsDirectory() ? 2 : 1;
  if ((parent.mode & S_ISGID) != 0) {
    inode.gid = parent.gid;
    // As inode_init_owner() in Linux: directories inherit the bit; a program may not become
    // set-group-ID to a group that its maker is not in.
    if (inode.IsDirectory()) {
      inode.mode |= S_ISGID;
    } else if ((inode.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
               !IsSuperuser(*context.credential) && !InGroup(*context.credential, inode.gid)) {
      inode.mode &= ~static_cast<uint32_t>(S_ISGID);
    }
  }
  inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = options.time_ns;
  return inode;
}

Status DestroyInode(OpContext* context, const Fid& fid, const mdt::Inode& inode) {
  if (inode.IsRegular() && !inode.layout.empty()) {
    SHEEN_TRY_ASSIGN(const layout::Layout objects, layout::Decode(inode.layout));
    mdt::AddOutbox(context->txn, objects, {.kind = mdt::OutboxRow::Kind::kDestroy});
    context->outbox = true;
  }
  if (IsPending(inode)) {
    SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode.extra));
    RemovePending(context, source.link, fid);
  }
  return mdt::DeleteInode(context->txn, fid, inode);
}

Status DropName(OpContext* context, const Fid& fid, mdt::Inode* inode, int64_t time_ns) {
  SHEEN_TRY(NoteTakenAway(context, *inode));
  inode->ctime_ns = std::max(inode->ctime_ns, time_ns);
  inode->nlink = inode->IsDirectory() || inode->nlink <= 1 ? 0 : inode->nlink - 1;
  if (inode->nlink > 0) {
    mdt::PutInode(context->txn, fid, *inode);
    return {};
  }
  // While clients are still to come back it is not known who has it open.
  Core& core = *context->core;
  if (core.handles.IsOpen(fid) || core.recovery.HandlesUnknown(core.Now())) {
    mdt::AddOrphan(context->txn, fid, time_ns);
    mdt::PutInode(context->txn, fid, *inode);
    return {};
  }
  return DestroyInode(context, fid, *inode);
}

Result<uint64_t> AddName(OpContext* context, mdt::Inode* parent, const mdt::Found& place,
                         const NewName& name) {
  mdt::Dirent entry;
  entry.type = name.type;
  entry.fid = name.fid;
  entry.name = name.name;
  const uint64_t decided = context->replay ? name.decided_cookie : 0;
  SHEEN_TRY_ASSIGN(const uint64_t cookie,
                   mdt::InsertEntry(context->txn, context->mdt().hash(), name.parent, parent, place,
                                    entry, decided));
  mdt::AddLink(context->txn, name.fid, {name.parent, cookie, std::move(entry.name)});
  return cookie;
}

}  // namespace sheen::mds
