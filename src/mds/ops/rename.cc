// rename: moves a name, over an existing one or exchanged with it.
//
// What may not happen: a directory below itself (kInvalid). Two moves of directories between
// parents could each be right alone and make a loop together, so those hold Mdt::kMoveLatch over
// the walk from the new parent up to the root. Two names of one file: nothing is done (rename(2)).
// Errors: kNoEntry, kExists (NOREPLACE), kIsDirectory, kNotDirectory, kNotEmpty, kTooManyLinks,
// kNameTooLong.
#include <algorithm>

#include "mds/ops/ops.h"
#include "mds/permission.h"
#include "mds/unlisted.h"

namespace sheen::mds::ops {
namespace {

constexpr uint32_t kNoReplace = 1;  // renameat2(2)
constexpr uint32_t kExchange = 2;
constexpr uint32_t kDepthMax = 1 << 20;  // of a walk up; a longer one is a damaged store

struct Side {
  Fid parent;
  std::string_view name;
  mdt::Inode* directory = nullptr;  // both sides' are one when the parents are
  mdt::Found found;
  Fid fid;           // empty: no such name
  mdt::Inode inode;  // of the name
  uint64_t cookie = 0;
};

struct Move {
  Side from;
  Side to;
  bool exchange = false;
  bool same_parent = false;
  int64_t time_ns = 0;

  bool replaces() const { return !to.fid.empty(); }
};

Result<bool> IsBelow(OpContext* context, const Fid& directory, const Fid& ancestor) {
  Fid at = directory;
  for (uint32_t depth = 0; depth < kDepthMax; ++depth) {
    if (at == ancestor) return true;
    if (at == kRootFid) return false;
    SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Directory(at));
    at = inode.parent;
  }
  return Fail(Errc::kCorrupt, directory.ToString() + ": its parents do not lead to the root");
}

Status FindSide(OpContext* context, Side* side) {
  SHEEN_TRY_ASSIGN(side->found, context->Find(side->parent, side->name));
  if (!side->found.entry) return {};
  side->fid = side->found.entry->fid;
  side->cookie = side->found.cookie;
  SHEEN_TRY(context->Latch(side->fid));
  SHEEN_TRY_ASSIGN(side->inode, context->Inode(side->fid));
  return {};
}

// Everything rename(2) says about what is there; changes nothing.
Status CheckTypes(const Move& move, uint32_t flags) {
  if (move.to.directory->nlink == 0) return Fail(Errc::kNoEntry, "the directory was removed");
  if (move.exchange) return move.replaces() ? Status() : Fail(Errc::kNoEntry);
  if (!move.replaces()) return {};
  if ((flags & kNoReplace) != 0) return Fail(Errc::kExists);
  const bool onto_directory = move.to.inode.IsDirectory();
  if (onto_directory && !move.from.inode.IsDirectory()) return Fail(Errc::kIsDirectory);
  if (!onto_directory && move.from.inode.IsDirectory()) return Fail(Errc::kNotDirectory);
  if (onto_directory && move.to.inode.entry_count > 0) return Fail(Errc::kNotEmpty);
  return {};
}

Status CheckPermissions(const OpContext& context, const Move& move) {
  const rpc::Credential& who = *context.credential;
  SHEEN_TRY(CheckRemove(*move.from.directory, move.from.inode, who));
  if (move.replaces()) {
    SHEEN_TRY(CheckRemove(*move.to.directory, move.to.inode, who));
  } else {
    SHEEN_TRY(CheckAccess(*move.to.directory, who, kAccessWrite | kAccessExecute));
  }
  if (move.same_parent) return {};
  // A directory's ".." changes with its parent.
  if (move.from.inode.IsDirectory()) SHEEN_TRY(CheckAccess(move.from.inode, who, kAccessWrite));
  if (move.exchange && move.to.inode.IsDirectory()) {
    SHEEN_TRY(CheckAccess(move.to.inode, who, kAccessWrite));
  }
  return {};
}

Status CheckLoops(OpContext* context, const Move& move) {
  if (move.same_parent) return {};
  const bool exchanged_directory = move.exchange && move.to.inode.IsDirectory();
  if (!move.from.inode.IsDirectory() && !exchanged_directory) return {};
  SHEEN_TRY(context->Latch(mdt::Mdt::kMoveLatch));
  if (move.from.inode.IsDirectory()) {
    SHEEN_TRY_ASSIGN(const bool below, IsBelow(context, move.to.parent, move.from.fid));
    if (below) return Fail(Errc::kInvalid, "a directory cannot be moved below itself");
  }
  if (exchanged_directory) {
    SHEEN_TRY_ASSIGN(const bool below, IsBelow(context, move.from.parent, move.to.fid));
    if (below) return Fail(Errc::kInvalid, "a directory cannot be moved below itself");
  }
  return {};
}

// The directory behind `inode` has a new parent.
Status Reparent(mdt::Inode* inode, mdt::Inode* from, mdt::Inode* to, const Fid& parent) {
  if (!inode->IsDirectory() || from == to) return {};
  if (to->nlink >= mdt::kLinkCountMax) return Fail(Errc::kTooManyLinks);
  --from->nlink;
  ++to->nlink;
  inode->parent = parent;
  return {};
}

void PointName(OpContext* context, const Side& at, const Side& whose) {
  mdt::Dirent entry;
  entry.type = whose.inode.DirentType();
  entry.fid = whose.fid;
  entry.name = at.name;
  mdt::ReplaceEntry(context->txn, at.parent, at.cookie, entry);
  mdt::RemoveLink(context->txn, at.fid, at.parent, at.cookie);
  mdt::AddLink(context->txn, whose.fid, {at.parent, at.cookie, std::string(at.name)});
}

Status Exchange(OpContext* context, Move* move) {
  Side& a = move->from;
  Side& b = move->to;
  PointName(context, a, b);
  PointName(context, b, a);
  SHEEN_TRY(NoteTakenAway(context, a.inode));
  SHEEN_TRY(NoteTakenAway(context, b.inode));
  SHEEN_TRY(Reparent(&a.inode, a.directory, b.directory, b.parent));
  SHEEN_TRY(Reparent(&b.inode, b.directory, a.directory, a.parent));
  b.inode.ctime_ns = std::max(b.inode.ctime_ns, move->time_ns);
  mdt::PutInode(context->txn, b.fid, b.inode);
  return {};
}

Status MoveName(OpContext* context, Move* move, uint64_t decided_cookie) {
  Side& from = move->from;
  Side& to = move->to;
  if (move->replaces()) {
    PointName(context, to, from);
    if (to.inode.IsDirectory()) --to.directory->nlink;
    SHEEN_TRY(DropName(context, to.fid, &to.inode, move->time_ns));
  } else {
    SHEEN_TRY_ASSIGN(to.cookie, AddName(context, to.directory, to.found,
                                        {.parent = to.parent,
                                         .name = to.name,
                                         .fid = from.fid,
                                         .type = from.inode.DirentType(),
                                         .decided_cookie = decided_cookie}));
  }
  SHEEN_TRY(NoteTakenAway(context, from.inode));
  SHEEN_TRY(mdt::RemoveEntry(context->txn, from.parent, from.directory, from.cookie));
  mdt::RemoveLink(context->txn, from.fid, from.parent, from.cookie);
  return Reparent(&from.inode, from.directory, to.directory, to.parent);
}

Status Apply(OpContext* context, const v1::RenameRequest& request, Move* move) {
  Side& from = move->from;
  Side& to = move->to;
  const mdt::Inode* replaced = move->replaces() ? &to.inode : nullptr;
  move->time_ns = context->TimeFor(request.decided_time_ns(),
                                   {from.directory, to.directory, &from.inode, replaced});
  if (move->exchange) {
    SHEEN_TRY(Exchange(context, move));
  } else {
    SHEEN_TRY(MoveName(context, move, request.decided_cookie()));
  }
  from.inode.ctime_ns = std::max(from.inode.ctime_ns, move->time_ns);
  mdt::PutInode(context->txn, from.fid, from.inode);
  Touch(from.directory, move->time_ns);
  mdt::PutInode(context->txn, from.parent, *from.directory);
  context->txn->NoteParent(from.parent);
  if (move->same_parent) return {};
  Touch(to.directory, move->time_ns);
  mdt::PutInode(context->txn, to.parent, *to.directory);
  context->txn->NoteParent(to.parent);
  return {};
}

void Log(OpContext* context, const Move& move) {
  const auto moved = [context](const Side& from, const Side& to, const Fid& replaced,
                               uint16_t flags) {
    LogChange(context, {.type = mdt::LogType::kRename,
                        .flags = flags,
                        .fid = replaced,
                        .parent = to.parent,
                        .name = to.name,
                        .source = from.fid,
                        .source_parent = from.parent,
                        .source_name = from.name});
  };
  const bool gone = move.replaces() && !move.exchange;
  moved(move.from, move.to, gone ? move.to.fid : Fid(), gone ? LostNameFlags(move.to.inode) : 0);
  if (move.exchange) moved(move.to, move.from, Fid(), 0);
}

void Answer(const Move& move, v1::RenameReply* reply) {
  SetFid(move.from.fid, reply->mutable_fid());
  if (move.replaces()) SetFid(move.to.fid, reply->mutable_replaced());
  reply->set_cookie(move.to.cookie);
  if (move.exchange) reply->set_cookie_exchange(move.from.cookie);
  reply->set_time_ns(move.time_ns);
}

}  // namespace

Status Rename(OpContext* context, const v1::RenameRequest& request, v1::RenameReply* reply) {
  Move move;
  SHEEN_TRY_ASSIGN(move.from.parent, ValidFid(request.old_parent()));
  SHEEN_TRY_ASSIGN(move.to.parent, ValidFid(request.new_parent()));
  move.from.name = request.old_name();
  move.to.name = request.new_name();
  SHEEN_TRY(CheckName(move.from.name));
  SHEEN_TRY(CheckName(move.to.name));
  const uint32_t flags = request.flags();
  if ((flags & ~(kNoReplace | kExchange)) != 0 || flags == (kNoReplace | kExchange)) {
    return Fail(Errc::kInvalid, "rename flags " + std::to_string(flags) + " are not supported");
  }
  move.exchange = (flags & kExchange) != 0;
  move.same_parent = move.from.parent == move.to.parent;

  SHEEN_TRY(context->Latch(std::min(move.from.parent, move.to.parent)));
  SHEEN_TRY(context->Latch(std::max(move.from.parent, move.to.parent)));
  SHEEN_TRY_ASSIGN(mdt::Inode from_directory, context->Directory(move.from.parent));
  SHEEN_TRY(CheckAccess(from_directory, *context->credential, kAccessExecute));
  move.from.directory = move.to.directory = &from_directory;
  mdt::Inode to_directory;
  if (!move.same_parent) {
    SHEEN_TRY_ASSIGN(to_directory, context->Directory(move.to.parent));
    SHEEN_TRY(CheckAccess(to_directory, *context->credential, kAccessExecute));
    move.to.directory = &to_directory;
  }
  SHEEN_TRY(FindSide(context, &move.from));
  if (move.from.fid.empty()) return Fail(Errc::kNoEntry);
  SHEEN_TRY(FindSide(context, &move.to));

  SHEEN_TRY(CheckLoops(context, move));
  if (move.from.fid == move.to.fid && (flags & kNoReplace) == 0) {
    Answer(move, reply);
    return {};
  }
  if (move.replaces()) context->txn->NoteReadChildren(move.to.fid);
  SHEEN_TRY(CheckTypes(move, flags));
  SHEEN_TRY(CheckPermissions(*context, move));
  SHEEN_TRY(Apply(context, request, &move));
  Log(context, move);
  Answer(move, reply);
  FillAttr(move.from.parent, *move.from.directory, false, reply->mutable_old_parent_attr());
  context->GrantAfter(move.from.parent, lock::kAttrBits);
  if (move.same_parent) return {};
  FillAttr(move.to.parent, *move.to.directory, false, reply->mutable_new_parent_attr());
  context->GrantAfter(move.to.parent, lock::kAttrBits);
  return {};
}

}  // namespace sheen::mds::ops
