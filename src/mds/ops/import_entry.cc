// import_entry: the MDS's own operation that makes a file, directory or symbolic link of an object
// in S3, metadata only, or brings one up to date that was imported before:
//
//   nothing of the name      made, with a layout whose first component has the source
//   same ETag and size       attributes as S3 says, where they differ
//   another ETag, unchanged  a new layout (new births): objects of the old one are destroyed
//   changed here, not ours   kExists: kept
//
// Times and owners are the object's; directories that are there already keep their own.
#include <sys/stat.h>

#include "mds/file_layout.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
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
  source.flags = mdt::kHsmExists | mdt::kHsmArchived | mdt::kHsmReleased;
  source.link = order.repository();
  source.key = order.entry().key();
  source.etag = order.entry().etag();
  source.size = order.entry().size();
  source.modified_ns = order.entry().modified_ns();
  return source;
}

// floor(size / chunk) + 1 stripes, as FSx has it.
Status GiveLayout(OpContext* context, const v1::ImportOrder& order, const Fid& fid,
                  uint32_t generation, mdt::Inode* inode) {
  const uint64_t chunk = std::max<uint64_t>(order.chunk_bytes(), 1);
  const uint64_t stripes =
      std::min<uint64_t>(order.entry().size() / chunk + 1, layout::kStripeCountMax);
  layout::Layout layout =
      layout::PlainTemplate(static_cast<uint32_t>(stripes), kStripeBytes);
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

void GiveAttributes(const v1::ImportEntry& entry, int64_t now_ns, mdt::Inode* inode) {
  const uint32_t type = inode->mode & S_IFMT;
  // Set-user-ID is never taken from S3.
  inode->mode = type | (entry.mode() == 0 ? kDefaultMode : entry.mode() & 03777);
  if (type == S_IFLNK) inode->mode = S_IFLNK | 0777;
  inode->uid = entry.uid();
  inode->gid = entry.gid();
  inode->mtime_ns = entry.mtime_ns() != 0 ? entry.mtime_ns() : entry.modified_ns();
  inode->atime_ns = entry.atime_ns() != 0 ? entry.atime_ns() : inode->mtime_ns;
  inode->ctime_ns = now_ns;
}

Status Refuse(std::string_view why) { return Fail(Errc::kExists, std::string(why)); }

// The name is there already.
Status BringUpToDate(OpContext* context, const v1::ImportOrder& order, const Fid& fid,
                     v1::ImportWhat* what) {
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  const v1::ImportEntry& entry = order.entry();
  const uint32_t type = entry.mode() & S_IFMT;
  if (order.directory_only() || type == S_IFDIR) {
    if (!inode.IsDirectory()) {
      return Fail(Errc::kNotDirectory, "a file of this name is in the way of a directory");
    }
    return {};
  }
  if (inode.IsDirectory()) return Refuse("a directory of this name is in the way of the file");
  if (inode.extra.empty()) return Refuse("a file of this name is here that was not imported; kept");
  SHEEN_TRY_ASSIGN(const mdt::FileSource known, mdt::DecodeFileSource(inode.extra));
  // Renamed or linked here: it may be the last copy.
  if (known.key != entry.key()) return Refuse("it was another object's and renamed here; kept");
  if (known.link != order.repository()) return Refuse("it belongs to another data repository");
  if ((known.flags & mdt::kHsmDirty) != 0) {
    const bool same = known.etag == entry.etag() && known.size == entry.size();
    return same ? Status() : Refuse("changed here and in S3; the file here is kept");
  }
  const bool same_content = known.etag == entry.etag() && known.size == entry.size();
  if (same_content && known.modified_ns == entry.modified_ns()) return {};
  const int64_t time_ns = context->TimeFor(0, {&inode});
  GiveAttributes(entry, time_ns, &inode);
  if (inode.IsSymlink()) {
    inode.target = entry.target();
    inode.size = inode.target.size();
  } else if (!same_content) {
    SHEEN_TRY(context->CheckRoom());
    SHEEN_TRY_ASSIGN(const layout::Layout old, layout::Decode(inode.layout));
    mdt::AddOutbox(context->txn, old, {.kind = mdt::OutboxRow::Kind::kDestroy});
    context->outbox = true;
    SHEEN_TRY(GiveLayout(context, order, fid, old.generation + 1, &inode));
    inode.size = entry.size();
    inode.blocks = entry.size() > 0 ? kBlocksOfAbsent : 0;
  }
  inode.extra = mdt::Encode(SourceRecord(order));
  mdt::PutInode(context->txn, fid, inode);
  LogChange(context, {.type = mdt::LogType::kLayout, .fid = fid});
  *what = v1::IMPORT_UPDATED;
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
  if (!order.directory_only()) GiveAttributes(entry, time_ns, &inode);
  if (type == S_IFDIR) {
    if (directory->nlink >= mdt::kLinkCountMax) return Fail(Errc::kTooManyLinks);
    ++directory->nlink;
    inode.parent = parent;
    if (parent != kRootFid) inode.layout = directory->layout;
  } else if (type == S_IFLNK) {
    if (entry.target().empty() || entry.target().size() > mdt::kSymlinkBytesMax) {
      return Fail(Errc::kInvalid, "the object holds no target of a symbolic link");
    }
    inode.target = entry.target();
    inode.size = inode.target.size();
    inode.extra = mdt::Encode(SourceRecord(order));
  } else {
    SHEEN_TRY(GiveLayout(context, order, fid, 0, &inode));
    inode.size = entry.size();
    inode.blocks = entry.size() > 0 ? kBlocksOfAbsent : 0;
    inode.extra = mdt::Encode(SourceRecord(order));
  }
  SHEEN_TRY(AddName(context, directory, place,
                    {.parent = parent, .name = order.name(), .fid = fid,
                     .type = inode.DirentType()}));
  mdt::PutInode(context->txn, fid, inode);
  Touch(directory, time_ns);
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
    SHEEN_TRY(BringUpToDate(context, order, place.entry->fid, &what));
    SetFid(place.entry->fid, outcome.mutable_fid());
  } else {
    SHEEN_TRY(MakeNew(context, order, parent, &directory, place));
    SetFid(FidOf(order.fid()), outcome.mutable_fid());
    what = v1::IMPORT_CREATED;
  }
  outcome.set_what(what);
  *reply = outcome.SerializeAsString();
  return {};
}

}  // namespace sheen::mds
