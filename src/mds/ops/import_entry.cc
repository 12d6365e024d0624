// import_entry: the MDS's own operation that makes a file, directory or symbolic link of an object
// in S3, metadata only, or brings one up to date that was imported before:
//
//   nothing of the name      made, with a layout whose first component has the source; not if it
//                            was taken away here while the link is unlisted (mds/unlisted.h)
//   same ETag and size       attributes as S3 says, where they differ
//   another ETag, unchanged  a new layout (new births): objects of the old one are destroyed
//   changed here, not ours   kExists: kept
//   pending                  with what S3 was asked for: that, also a symbolic link in place of the
//                            file that a listing takes every object for
//
// What is made of a listing alone is pending (mds/pending.h), and its entry in the directory has no
// type (DT_UNKNOWN) if it may be a symbolic link.
//
// Times and owners are the object's. A directory gets those of its object ("a/b/") whenever that
// comes, before or after what is below it: one that an import has made on the way is marked so, and
// what is imported into a directory with an object of its own leaves its mtime alone. Directories
// that people have made keep their own.
#include <dirent.h>
#include <sys/stat.h>

#include "mds/acl_rows.h"
#include "mds/file_layout.h"
#include "mds/import_compare.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mds/pending.h"
#include "mds/unlisted.h"
#include "mdt/repository_records.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

// As the OSSs accept: S3's largest object is smaller.
constexpr uint64_t kObjectBytesMax = 64ULL << 40;

constexpr uint64_t kStripeBytes = 8 << 20;
constexpr uint32_t kDefaultMode = 0755;
// As long as nothing of a file is known to be here: what du(1) and tar(1) take for "has data".
constexpr uint64_t kBlocksOfAbsent = 1;

mdt::FileSource SourceRecord(const v1::ImportOrder& order) {
  mdt::FileSource source;
  const bool directory = order.directory_only() || S_ISDIR(order.entry().mode());
  if (!directory) source.flags = mdt::kHsmExists | mdt::kHsmArchived | mdt::kHsmReleased;
  source.link = order.repository();
  source.key = order.entry().key();
  source.etag = order.entry().etag();
  source.size = order.entry().size();
  source.modified_ns = order.entry().modified_ns();
  if (order.pending()) source.flags |= mdt::kSourcePending;
  return source;
}

// floor(size / chunk) + 1 stripes, as FSx has it.
Status GiveLayout(OpContext* context, const v1::ImportOrder& order, const Fid& fid,
                  const Template& found, uint32_t generation, mdt::Inode* inode) {
  const uint64_t chunk = std::max<uint64_t>(order.chunk_bytes(), 1);
  const uint64_t stripes =
      std::min<uint64_t>(order.entry().size() / chunk + 1, layout::kStripeCountMax);
  layout::Layout layout =
      NewLayout(layout::PlainTemplate(static_cast<uint32_t>(stripes), kStripeBytes), found);
  layout.generation = generation;
  SHEEN_TRY(InstantiateRange(context, fid, &layout, 0, 1));
  if (order.entry().size() > 0) {
    layout.components[0].source = layout::Source{.link = order.repository(),
                                                 .key = order.entry().key(),
                                                 .etag = order.entry().etag(),
                                                 .end = order.entry().size()};
  }
  inode->layout = layout::Encode(layout);
  return {};
}

constexpr uint32_t kGivenAll = v1::GIVEN_MODE | v1::GIVEN_UID | v1::GIVEN_GID;

// `given`: v1::ImportGiven bits; the others stay.
void GiveAttributes(const v1::ImportEntry& entry, uint32_t given, int64_t now_ns,
                    mdt::Inode* inode) {
  const uint32_t type = inode->mode & S_IFMT;
  if ((given & v1::GIVEN_MODE) != 0) {
    // Who may write to the bucket makes no set-ID programs; a directory's hands the group down.
    const uint32_t taken = type == S_IFDIR ? 03777 : 01777;
    inode->mode = type | (entry.mode() == 0 ? kDefaultMode : entry.mode() & taken);
  }
  if (type == S_IFLNK) inode->mode = S_IFLNK | 0777;
  if ((given & v1::GIVEN_UID) != 0) inode->uid = entry.uid();
  if ((given & v1::GIVEN_GID) != 0) inode->gid = entry.gid();
  ops::SetMtime(entry.mtime_ns() != 0 ? entry.mtime_ns() : entry.modified_ns(), true, inode);
  inode->atime_ns = entry.atime_ns() != 0 ? entry.atime_ns() : inode->mtime_ns;
  inode->ctime_ns = now_ns;
}

bool HasOwnObject(const mdt::Inode& directory) {
  if (directory.extra.empty()) return false;
  const Result<mdt::FileSource> source = mdt::DecodeFileSource(directory.extra);
  return source && !source->etag.empty();
}

// What people have said of the file; of the same bytes also what is known of them.
Result<std::string> NewSource(const v1::ImportOrder& order, const mdt::Inode& before,
                              bool same_content) {
  mdt::FileSource record = SourceRecord(order);
  if (before.extra.empty() || before.IsDirectory()) return mdt::Encode(record);
  SHEEN_TRY_ASSIGN(const mdt::FileSource known, mdt::DecodeFileSource(before.extra));
  constexpr uint32_t kSaid = mdt::kHsmNoRelease | mdt::kHsmNoArchive;
  const uint32_t kept = same_content ? known.flags : record.flags | (known.flags & kSaid);
  record.flags = (kept & ~mdt::kSourcePending) | (record.flags & mdt::kSourcePending);
  return mdt::Encode(record);
}

// S3 has said what a pending name is.
void EndPending(OpContext* context, const v1::ImportOrder& order, const Fid& fid,
                const mdt::Found& place, const mdt::Inode& inode) {
  RemovePending(context, order.repository(), fid);
  if (place.entry->type == inode.DirentType()) return;
  mdt::Dirent entry = *place.entry;
  entry.type = inode.DirentType();
  mdt::ReplaceEntry(context->txn, FidOf(order.parent()), place.cookie, entry);
}

// Somebody has taken the import's directory away, and made one of this name.
Result<bool> IsAnother(const OpContext& context, const v1::ImportOrder& order,
                       const mdt::Inode& directory) {
  SHEEN_TRY_ASSIGN(const bool taken,
                   WasTakenAway(context, order.repository(), order.entry().key()));
  if (!taken || directory.extra.empty()) return taken;
  SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(directory.extra));
  return source.link != order.repository() || source.key != order.entry().key();
}

// The name is there already.
Status BringUpToDate(OpContext* context, const v1::ImportOrder& order, const mdt::Found& place,
                     v1::ImportWhat* what) {
  const Fid fid = place.entry->fid;
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  const v1::ImportEntry& entry = order.entry();
  if (order.directory_only()) {
    if (!inode.IsDirectory()) {
      return Fail(Errc::kNotDirectory, "a file of this name is in the way of a directory");
    }
    SHEEN_TRY_ASSIGN(const bool another, IsAnother(*context, order, inode));
    if (another) *what = v1::IMPORT_SKIPPED;
    return {};
  }
  SHEEN_TRY_ASSIGN(const ImportStanding standing,
                   CompareImported(inode, order.repository(), entry, order.pending()));
  if (!standing.refusal.empty()) return Fail(Errc::kExists, std::string(standing.refusal));
  // Of what people may have seen a listing alone says too little.
  const bool too_little = order.pending() && !standing.pending;
  if (standing.what == v1::IMPORT_UNCHANGED || too_little) return {};
  if (!standing.pending && inode.IsSymlink() != S_ISLNK(entry.mode())) {
    return Fail(Errc::kExists, inode.IsSymlink()
                                   ? "it was a symbolic link and is none in S3 now; kept"
                                   : "it was no symbolic link and is one in S3 now; kept");
  }
  const mdt::Inode before = inode;
  // A directory that an import made on the way has nothing of its own yet.
  const bool own = !standing.pending && standing.what != v1::IMPORT_CREATED;
  const uint32_t given = own ? entry.given() : kGivenAll;
  if (S_ISLNK(entry.mode())) {
    // Nobody has had its layout: no OST has objects of it.
    inode.mode = S_IFLNK;
    inode.layout.clear();
    inode.blocks = 0;
  }
  GiveAttributes(entry, given, context->TimeFor(0, {&inode}), &inode);
  if (inode.mode != before.mode) SHEEN_TRY(FollowMode(context, fid, &inode));
  if (inode.IsSymlink()) {
    inode.target = entry.target();
    inode.size = inode.target.size();
  } else if (inode.IsRegular() && !standing.same_content) {
    SHEEN_TRY(context->CheckRoom());
    // Pages of other bytes go by mtime and size (docs/posix.md).
    const bool same_looks = inode.mtime_ns == before.mtime_ns && entry.size() == before.size;
    if (same_looks) ++inode.mtime_ns;
    SHEEN_TRY_ASSIGN(layout::Layout old, layout::Decode(inode.layout));
    mdt::AddOutbox(context->txn, old, {.kind = mdt::OutboxRow::Kind::kDestroy});
    context->outbox = true;
    SHEEN_TRY_ASSIGN(const Template found, TemplateForFile(context, fid));
    SHEEN_TRY(RaiseGeneration(&old));
    SHEEN_TRY(GiveLayout(context, order, fid, found, old.generation, &inode));
    inode.size = entry.size();
    inode.blocks = entry.size() > 0 ? kBlocksOfAbsent : 0;
  }
  SHEEN_TRY_ASSIGN(inode.extra, NewSource(order, before, standing.same_content));
  const bool ended = standing.pending && !order.pending();
  if (ended) EndPending(context, order, fid, place, inode);
  *what = standing.what;
  if (inode.IsDirectory()) {
    mdt::PutInode(context->txn, fid, inode);
    return {};
  }
  mdt::PutInode(context->txn, fid, inode, lock::kAttrBits | lock::kLayout);
  LogChange(context,
            {.type = ended ? mdt::LogType::kSetAttr : mdt::LogType::kLayout, .fid = fid});
  return {};
}

Status MakeNew(OpContext* context, const v1::ImportOrder& order, const Fid& parent,
               mdt::Inode* directory, const mdt::Found& place) {
  const Fid fid = FidOf(order.fid());
  const v1::ImportEntry& entry = order.entry();
  SHEEN_TRY(context->CheckRoom());
  SHEEN_TRY(context->Latch(fid));
  const int64_t time_ns = context->TimeFor(0, {directory});
  const uint32_t wanted = order.directory_only() ? S_IFDIR : entry.mode() & S_IFMT;
  const uint32_t type = wanted == 0 ? S_IFREG : wanted;
  mdt::Inode inode =
      MakeInode(*context, *directory, {.mode = type | kDefaultMode, .time_ns = time_ns});
  if (!order.directory_only()) GiveAttributes(entry, kGivenAll, time_ns, &inode);
  if (type == S_IFDIR) {
    if (directory->nlink >= mdt::kLinkCountMax) return Fail(Errc::kTooManyLinks);
    ++directory->nlink;
    inode.parent = parent;
    if (parent != kRootFid) inode.layout = directory->layout;
    if (order.repository() != 0) inode.extra = mdt::Encode(SourceRecord(order));
  } else if (type == S_IFLNK) {
    if (entry.target().empty() || entry.target().size() > mdt::kSymlinkBytesMax) {
      return Fail(Errc::kInvalid, "the object holds no target of a symbolic link");
    }
    inode.target = entry.target();
    inode.size = inode.target.size();
    inode.extra = mdt::Encode(SourceRecord(order));
  } else {
    SHEEN_TRY_ASSIGN(const Template found, TemplateFor(context, parent, *directory));
    SHEEN_TRY(GiveLayout(context, order, fid, found, 0, &inode));
    inode.size = entry.size();
    inode.blocks = entry.size() > 0 ? kBlocksOfAbsent : 0;
    inode.extra = mdt::Encode(SourceRecord(order));
  }
  const bool unsure = order.pending() && type == S_IFREG;
  const uint8_t shown = unsure ? uint8_t{DT_UNKNOWN} : inode.DirentType();
  SHEEN_TRY(AddName(context, directory, place,
                    {.parent = parent, .name = order.name(), .fid = fid, .type = shown}));
  if (order.pending()) AddPending(context, order.repository(), fid);
  mdt::PutInode(context->txn, fid, inode);
  const int64_t mtime_ns = directory->mtime_ns;
  Touch(directory, time_ns);
  if (HasOwnObject(*directory)) directory->mtime_ns = mtime_ns;
  mdt::PutInode(context->txn, parent, *directory);
  LogMade(context, parent, order.name(), fid, inode);
  return {};
}

}  // namespace

Status ImportEntry(OpContext* context, std::string_view body, std::string* reply) {
  v1::ImportOrder order;
  if (!order.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad import order");
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(order.parent()));
  SHEEN_TRY(CheckName(order.name()));
  if (order.entry().size() > kObjectBytesMax) {
    return Fail(Errc::kFileTooBig, "the object is larger than a file can be");
  }
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  if (directory.nlink == 0) return Fail(Errc::kStale, "the directory was removed");
  SHEEN_TRY_ASSIGN(const mdt::Found place, context->Find(parent, order.name()));
  v1::ImportOutcome outcome;
  v1::ImportWhat what = v1::IMPORT_UNCHANGED;
  if (place.entry) {
    SHEEN_TRY(BringUpToDate(context, order, place, &what));
    SetFid(place.entry->fid, outcome.mutable_fid());
  } else {
    SHEEN_TRY_ASSIGN(const bool taken,
                     WasTakenAway(*context, order.repository(), order.entry().key()));
    what = order.skip_new() || taken ? v1::IMPORT_SKIPPED : v1::IMPORT_CREATED;
  }
  if (what == v1::IMPORT_CREATED && !place.entry) {
    SHEEN_TRY(MakeNew(context, order, parent, &directory, place));
    SetFid(FidOf(order.fid()), outcome.mutable_fid());
  }
  outcome.set_what(what);
  *reply = outcome.SerializeAsString();
  return {};
}

// The answer may be late: what has become of the name meanwhile holds.
Status MakeUnlisted(OpContext* context, std::string_view body, std::string* reply) {
  v1::ImportOrder order;
  if (!order.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad import order");
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(order.parent()));
  std::string key = order.entry().key();
  if (key.ends_with('/')) key.pop_back();
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY_ASSIGN(const mdt::Found place, context->Find(parent, order.name()));
  SHEEN_TRY_ASSIGN(const auto still, FindUnlisted(context, parent, directory, order.name()));
  v1::ImportOutcome outcome;
  outcome.set_what(v1::IMPORT_UNCHANGED);
  if (!place.entry && still && still->link == order.repository() && still->key == key) {
    // After what was taken away: all of that goes together with this row.
    SHEEN_TRY_ASSIGN(const auto row,
                     context->txn->Get(mdt::kConfig, mdt::UnlistedKey(still->link)));
    outcome.set_what(row ? v1::IMPORT_CREATED : v1::IMPORT_SKIPPED);
    if (row) SHEEN_TRY(MakeNew(context, order, parent, &directory, place));
  }
  *reply = outcome.SerializeAsString();
  return {};
}

}  // namespace sheen::mds
