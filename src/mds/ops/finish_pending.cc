// finish_pending: the MDS's own operation that takes what S3 says of a pending name (pending.h):
//
//   an entry           owner, mode, times and type as S3 says, also where the object is another now
//   gone, a file       the name goes
//   gone, a directory  it goes if it is empty and was listed; else it was only made on the way, and
//                      is nobody's in S3
//
// A name that is not pending any more stays as it is. The name is found by the inode's link row:
// whoever renames, links or removes a pending name has it asked for first, so it is the one that
// the listing gave.
//
// While clients are still to come back nothing is removed (IMPORT_SKIPPED): they may keep listings.
// What a pending inode itself is, no client can know.
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mds/pending.h"
#include "mdt/repository_records.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

// As no listing has it: when the place is linked again an import finds that S3 is to be asked.
constexpr int64_t kModifiedUnknown = 1;

Status Answer(v1::ImportWhat what, std::string* reply) {
  v1::ImportOutcome outcome;
  outcome.set_what(what);
  *reply = outcome.SerializeAsString();
  return {};
}

Status TakeGone(OpContext* context, const Fid& fid, const mdt::LinkRow& link, mdt::Inode* inode,
                mdt::FileSource* known, std::string* reply) {
  const bool directory = inode->IsDirectory();
  if (!directory || (inode->entry_count == 0 && !known->etag.empty())) {
    Core& core = *context->core;
    if (core.recovery.Active(core.Now())) return Answer(v1::IMPORT_SKIPPED, reply);
    v1::DropOrder order;
    SetFid(link.parent, order.mutable_parent());
    order.set_name(link.name);
    order.set_repository(known->link);
    order.set_key(known->key);
    std::string dropped;
    SHEEN_TRY(DropImported(context, order.SerializeAsString(), &dropped));
    v1::DropOutcome outcome;
    if (outcome.ParseFromString(dropped) && outcome.dropped()) {
      return Answer(v1::IMPORT_DROPPED, reply);
    }
    return Fail(Errc::kIo, "its object is gone from S3, and the name cannot be removed");
  }
  known->flags &= ~mdt::kSourcePending;
  known->etag.clear();
  inode->extra = mdt::Encode(*known);
  RemovePending(context, known->link, fid);
  mdt::PutInode(context->txn, fid, *inode);
  return Answer(v1::IMPORT_UPDATED, reply);
}

}  // namespace

Status FinishPending(OpContext* context, std::string_view body, std::string* reply) {
  v1::FinishOrder order;
  if (!order.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  const v1::PendingAnswer& answer = order.answer();
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(answer.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(std::optional<mdt::Inode> inode, mdt::FindInode(*context->txn, fid));
  if (!inode || !IsPending(*inode)) return Answer(v1::IMPORT_UNCHANGED, reply);
  SHEEN_TRY_ASSIGN(mdt::FileSource known, mdt::DecodeFileSource(inode->extra));
  const bool ours = known.link == order.repository() && known.key == answer.key();
  if (!ours) return Answer(v1::IMPORT_UNCHANGED, reply);
  // Listed anew since S3 was asked: this answer may be of the object before. It is asked again.
  const bool as_asked = !answer.has_etag() || (answer.etag() == known.etag &&
                                               answer.modified_ns() == known.modified_ns);
  if (!as_asked) return Answer(v1::IMPORT_UNCHANGED, reply);
  SHEEN_TRY_ASSIGN(const std::vector<mdt::LinkRow> links, mdt::ListLinks(*context->txn, fid, 1));
  if (links.empty()) return Fail(Errc::kCorrupt, fid.ToString() + " is pending without a name");
  if (answer.answer().gone()) {
    return TakeGone(context, fid, links[0], &*inode, &known, reply);
  }
  v1::ImportOrder import;
  SetFid(links[0].parent, import.mutable_parent());
  import.set_name(links[0].name);
  import.set_repository(known.link);
  import.set_chunk_bytes(order.chunk_bytes());
  v1::ImportEntry* const entry = import.mutable_entry();
  *entry = answer.answer().entry();
  entry->set_key(known.key);
  if (entry->etag().empty()) {
    entry->set_etag(known.etag);
    entry->set_size(known.size);
  }
  // A listing says it more exactly than a HEAD, and the next one is compared with it.
  if (entry->etag() == known.etag) entry->set_modified_ns(known.modified_ns);
  if (entry->modified_ns() == 0) entry->set_mtime_ns(inode->mtime_ns);  // a directory on the way
  if (order.unlinked()) {
    entry->set_modified_ns(kModifiedUnknown);
    entry->set_mtime_ns(inode->mtime_ns);
  }
  import.set_skip_new(true);
  SHEEN_TRY(ImportEntry(context, import.SerializeAsString(), reply));
  // Else who looks would ask again and again.
  v1::ImportOutcome outcome;
  const bool ended = outcome.ParseFromString(*reply) && outcome.what() != v1::IMPORT_UNCHANGED;
  return ended ? Status() : Fail(Errc::kIo, known.key + " is as it was before S3 was asked");
}

Status ListPending(OpContext* context, std::string_view body, std::string* reply) {
  constexpr uint32_t kNamesMax = 4096;
  v1::ListPendingRequest request;
  if (!request.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  const uint32_t wanted = request.names_max() == 0 ? kNamesMax : request.names_max();
  const size_t names_max = std::min(wanted, kNamesMax);
  const std::string prefix = mdt::PendingPrefix(request.repository());
  std::string from = prefix + request.after();
  if (!request.after().empty()) from += '\0';
  std::vector<Fid> fids;
  v1::ListPendingReply out;
  out.set_end(true);
  SHEEN_TRY(context->txn->Scan(mdt::kConfig, prefix, from, [&](std::string_view key,
                                                               std::string_view) {
    out.set_end(fids.size() < names_max);
    if (!out.end()) return false;
    const auto row = mdt::DecodePendingKey(key);
    if (row) fids.push_back(row->fid);
    out.set_next(std::string(key.substr(prefix.size())));
    return true;
  }));
  for (const Fid& fid : fids) {
    SHEEN_TRY_ASSIGN(const auto inode, mdt::FindInode(*context->txn, fid));
    if (!inode || !IsPending(*inode)) continue;
    SHEEN_TRY_ASSIGN(const mdt::FileSource source, mdt::DecodeFileSource(inode->extra));
    v1::PendingName* const name = out.add_names();
    SetFid(fid, name->mutable_fid());
    name->set_key(source.key);
    name->set_etag(source.etag);
    name->set_modified_ns(source.modified_ns);
  }
  *reply = out.SerializeAsString();
  return {};
}

}  // namespace sheen::mds
