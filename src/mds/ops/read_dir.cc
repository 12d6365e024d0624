// read_dir: entries after a cookie, in cookie order, with attributes when asked.
//
// Takes no latch: an entry whose inode goes meanwhile is left out. Entries that exist through a
// whole listing are seen exactly once, since cookies never change. Entries that S3 did not say the
// owner and mode of have no attributes: the kernel asks for them by name. Errors: kNotDirectory.
#include <algorithm>

#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

constexpr uint32_t kBytesDefault = 64 << 10;
constexpr uint32_t kBytesMax = 1 << 20;
// Upper bounds of an encoded Entry without its name, and of its Attr without layout.
constexpr size_t kEntryBytes = 48;
constexpr size_t kAttrBytes = 160;
constexpr size_t kLockBytes = 32;

// kLookup covers the name as well: it was listed under the directory's kUpdate, and whoever changes
// it asks both back (clients take neither when the directory's was asked back meanwhile).
constexpr uint32_t kEntryBits = lock::kLookup | lock::kAttrBits;

// False: the page is full, and the entry is not in it.
Result<bool> AddEntry(OpContext* context, const v1::ReadDirRequest& request, uint64_t cookie,
                      std::string_view value, size_t* room, v1::ReadDirReply* reply) {
  SHEEN_TRY_ASSIGN(const mdt::Dirent dirent, mdt::DecodeDirent(value));
  if (dirent.tombstone) return true;
  const uint32_t limit = request.entries_max();
  if (limit != 0 && static_cast<uint32_t>(reply->entries_size()) >= limit) return false;
  std::optional<mdt::Inode> inode;
  size_t bytes = kEntryBytes + dirent.name.size();
  if (request.plus()) {
    SHEEN_TRY_ASSIGN(inode, mdt::FindInode(*context->txn, dirent.fid));
    if (!inode) return true;
    // S3 is asked for all of a page together.
    const bool asked = context->CheckAsked(dirent.fid, *inode).has_value();
    if (asked && !inode->size_unsafe() && context->GrantNow(dirent.fid, kEntryBits)) {
      SHEEN_TRY_ASSIGN(inode, mdt::FindInode(*context->txn, dirent.fid));
      if (!inode || inode->size_unsafe()) context->Untell(dirent.fid, kEntryBits);
      if (!inode) return true;
    }
    bytes += kAttrBytes + kLockBytes + (inode->size_unsafe() ? inode->layout.size() : 0);
    if (!asked) inode.reset();
  }
  if (bytes > *room && reply->entries_size() > 0) return false;
  *room -= std::min(*room, bytes);
  v1::Entry* entry = reply->add_entries();
  entry->set_name(dirent.name);
  entry->set_cookie(cookie);
  entry->set_type(dirent.type);
  SetFid(dirent.fid, entry->mutable_fid());
  if (inode) FillAttr(dirent.fid, *inode, false, entry->mutable_attr());
  return true;
}

}  // namespace

Status ReadDir(OpContext* context, const v1::ReadDirRequest& request, v1::ReadDirReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(fid));
  context->txn->NoteReadChildren(fid);
  if (!context->core->handles.HasOpen(fid, context->session_id(), false)) {
    SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessRead));
  }
  // Under it the names stay as they are listed.
  if (request.plus() && context->GrantNow(fid, lock::kAttrBits)) {
    SHEEN_TRY_ASSIGN(directory, context->Directory(fid));
  }
  context->unasked.may_leave_out = true;
  SetFid(directory.parent, reply->mutable_parent());
  reply->set_end(true);
  if (request.cookie() >= mdt::kCookieMax) return {};

  const uint32_t wanted = request.bytes_max() == 0 ? kBytesDefault : request.bytes_max();
  size_t room = std::min(wanted, kBytesMax);
  Status added;
  const std::string prefix = mdt::InodeKey(fid);
  const std::string from = mdt::DirentKey(fid, request.cookie() + 1);
  const auto add = [&](std::string_view key, std::string_view value) {
    if (key.size() != prefix.size() + 8) {
      added = Fail(Errc::kCorrupt, fid.ToString() + ": a directory entry's key is damaged");
      return false;
    }
    const uint64_t cookie = LoadBig64(key.data() + prefix.size());
    const Result<bool> fits = AddEntry(context, request, cookie, value, &room, reply);
    if (!fits) added = std::unexpected(fits.error());
    if (fits && !*fits) reply->set_end(false);
    return fits && *fits;
  };
  SHEEN_TRY(context->txn->Scan(mdt::kDirents, prefix, from, add));
  return added;
}

}  // namespace sheen::mds::ops
