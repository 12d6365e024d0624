// The MDS's own operations on data repositories: rows of the config family. Serialized by the
// superblock's latch.
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mdt/repository_records.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {
namespace {

// Equal, or one below the other, as paths.
bool PathsOverlap(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (a == "/") return true;
  return b.starts_with(a) && (b.size() == a.size() || b[a.size()] == '/');
}

Result<std::vector<mdt::RepositoryRow>> ReadRows(
    const mdt::Txn& txn, std::string_view family = mdt::kRepositoryPrefix) {
  std::vector<mdt::RepositoryRow> rows;
  Status parsed;
  const std::string prefix(family);
  SHEEN_TRY(txn.Scan(mdt::kConfig, prefix, prefix, [&](std::string_view, std::string_view value) {
    auto row = mdt::DecodeRepository(value);
    if (!row) {
      parsed = std::unexpected(std::move(row).error());
      return false;
    }
    rows.push_back(std::move(*row));
    return true;
  }));
  SHEEN_TRY(std::move(parsed));
  return rows;
}

void ToWire(const mdt::RepositoryRow& row, v1::Repository* out) {
  out->set_id(row.id);
  out->set_path(row.path);
  SetFid(row.directory, out->mutable_directory());
  out->set_bucket(row.bucket);
  out->set_prefix(row.prefix);
  out->set_endpoint(row.endpoint);
  out->set_region(row.region);
  out->set_path_style(row.path_style);
  out->set_profile(row.profile);
  out->set_credentials_file(row.credentials_file);
  out->set_chunk_bytes(row.chunk_bytes);
  out->set_concurrency(row.concurrency);
  out->set_requests_per_second(row.requests_per_second);
  out->set_bytes_per_second(row.bytes_per_second);
  out->set_created_ns(row.created_ns);
  out->set_import_what(row.import_what);
  out->set_import_every_s(row.import_every_s);
  out->set_no_head(row.no_head);
}

mdt::RepositoryRow FromWire(const v1::Repository& wire) {
  mdt::RepositoryRow row;
  row.path = wire.path();
  row.directory = FidOf(wire.directory());
  row.bucket = wire.bucket();
  row.prefix = wire.prefix();
  row.endpoint = wire.endpoint();
  row.region = wire.region();
  row.path_style = wire.path_style();
  row.profile = wire.profile();
  row.credentials_file = wire.credentials_file();
  row.chunk_bytes = wire.chunk_bytes();
  row.concurrency = wire.concurrency();
  row.requests_per_second = wire.requests_per_second();
  row.bytes_per_second = wire.bytes_per_second();
  row.import_what = wire.import_what();
  row.import_every_s = wire.import_every_s();
  row.no_head = wire.no_head();
  return row;
}

// The id that the same place in S3 had before; 0: none.
Result<uint32_t> FormerId(const mdt::Txn& txn, const mdt::RepositoryRow& wanted) {
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> former,
                   ReadRows(txn, mdt::kFormerRepositoryPrefix));
  for (const mdt::RepositoryRow& row : former) {
    const bool same = row.bucket == wanted.bucket && row.prefix == wanted.prefix &&
                      row.endpoint == wanted.endpoint;
    if (same) return row.id;
  }
  return 0;
}

// With all that was noted of it.
void ForgetUnlisted(OpContext* context, uint32_t id) {
  context->txn->Delete(mdt::kConfig, mdt::UnlistedKey(id));
  context->txn->DeleteRange(mdt::kConfig, mdt::TakenAwayPrefix(id), mdt::TakenAwayPrefix(id + 1));
}

constexpr uint32_t kImportWhatAll = v1::IMPORT_NEW | v1::IMPORT_CHANGED | v1::IMPORT_DELETED;

Status CheckSettings(const v1::Repository& wanted) {
  if ((wanted.import_what() & ~kImportWhatAll) != 0) {
    return Fail(Errc::kInvalid, "it is to take over from S3 what this server does not know");
  }
  if (wanted.chunk_bytes() == 0) return Fail(Errc::kInvalid, "files need stripes of some size");
  return {};
}

// With others than itself.
Status CheckOverlap(const std::vector<mdt::RepositoryRow>& rows, const v1::Repository& wanted) {
  for (const mdt::RepositoryRow& row : rows) {
    if (row.id == wanted.id()) continue;
    if (PathsOverlap(row.path, wanted.path())) {
      return Fail(Errc::kExists,
                  fmt::format("{} overlaps {}, which is linked to s3://{}/{}; a directory has one "
                              "data repository",
                              wanted.path(), row.path, row.bucket, row.prefix));
    }
    const bool same_bucket = row.bucket == wanted.bucket() && row.endpoint == wanted.endpoint();
    const bool overlaps =
        row.prefix.starts_with(wanted.prefix()) || wanted.prefix().starts_with(row.prefix);
    if (same_bucket && overlaps) {
      return Fail(Errc::kExists,
                  fmt::format("s3://{}/{} overlaps s3://{}/{}, which is linked to {}",
                              wanted.bucket(), wanted.prefix(), row.bucket, row.prefix, row.path));
    }
  }
  return {};
}

}  // namespace

Status AddRepository(OpContext* context, std::string_view body, std::string* reply) {
  v1::AddRepositoryRequest request;
  if (!request.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad repository");
  v1::Repository& wanted = *request.mutable_repository();
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> rows, ReadRows(*context->txn));
  wanted.clear_id();
  SHEEN_TRY(CheckSettings(wanted));
  SHEEN_TRY(CheckOverlap(rows, wanted));
  if (!wanted.has_directory()) return {};  // only asked whether it could be
  SHEEN_TRY_ASSIGN(const auto next,
                   context->txn->Get(mdt::kConfig, std::string(mdt::kNextRepositoryKey)));
  mdt::RepositoryRow row = FromWire(wanted);
  SHEEN_TRY_ASSIGN(row.id, FormerId(*context->txn, row));
  row.created_ns = context->now_ns;
  if (row.id != 0) {
    context->txn->Delete(mdt::kConfig, mdt::FormerRepositoryKey(row.id));
  } else {
    row.id = next && next->size() == sizeof(uint32_t) ? LoadBig32(next->data()) : 1;
    std::string after;
    AppendBig32(&after, row.id + 1);
    context->txn->Put(mdt::kConfig, std::string(mdt::kNextRepositoryKey), after);
  }
  context->txn->Put(mdt::kConfig, mdt::RepositoryKey(row.id), mdt::Encode(row));
  ForgetUnlisted(context, row.id);
  if (request.import()) {
    context->txn->Put(mdt::kConfig, mdt::UnlistedKey(row.id), mdt::EncodeUnlisted());
  }
  context->durable = true;
  v1::Repository made;
  ToWire(row, &made);
  *reply = made.SerializeAsString();
  return {};
}

Status UpdateRepository(OpContext* context, std::string_view body, std::string* reply) {
  v1::Repository wanted;
  if (!wanted.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad repository");
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> rows, ReadRows(*context->txn));
  const auto known = std::ranges::find(rows, wanted.id(), &mdt::RepositoryRow::id);
  const bool same = known != rows.end() && known->path == wanted.path() &&
                    known->bucket == wanted.bucket() && known->prefix == wanted.prefix();
  if (!same) {
    return Fail(Errc::kNoEntry, fmt::format("{} is not linked to s3://{}/{} any more; `sheen repo "
                                            "list` shows what is",
                                            wanted.path(), wanted.bucket(), wanted.prefix()));
  }
  SHEEN_TRY(CheckSettings(wanted));
  SHEEN_TRY(CheckOverlap(rows, wanted));
  mdt::RepositoryRow row = FromWire(wanted);
  row.id = known->id;
  row.directory = known->directory;
  row.created_ns = known->created_ns;
  context->txn->Put(mdt::kConfig, mdt::RepositoryKey(row.id), mdt::Encode(row));
  context->durable = true;
  v1::Repository made;
  ToWire(row, &made);
  *reply = made.SerializeAsString();
  return {};
}

Status RemoveRepository(OpContext* context, std::string_view body, std::string* /*reply*/) {
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> rows, ReadRows(*context->txn));
  for (const mdt::RepositoryRow& row : rows) {
    if (row.path != body) continue;
    context->txn->Delete(mdt::kConfig, mdt::RepositoryKey(row.id));
    context->txn->Put(mdt::kConfig, mdt::FormerRepositoryKey(row.id), mdt::Encode(row));
    ForgetUnlisted(context, row.id);
    context->durable = true;
    return {};
  }
  return Fail(Errc::kNoEntry, fmt::format("{} is no data repository; `sheen repo list` shows them",
                                          body));
}

Status EndUnlisted(OpContext* context, std::string_view body, std::string* /*reply*/) {
  v1::ImportEntriesRequest named;
  if (!named.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad order");
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  ForgetUnlisted(context, named.repository());
  context->durable = true;
  return {};
}

Status RecallNames(OpContext* context, std::string_view body, std::string* /*reply*/) {
  v1::Repository linked;
  if (!linked.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad repository");
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(linked.directory()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  mdt::PutInode(context->txn, fid, inode);
  return {};
}

Status ListRepositories(OpContext* context, std::string_view /*body*/, std::string* reply) {
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> rows, ReadRows(*context->txn));
  v1::ListRepositoriesReply list;
  for (const mdt::RepositoryRow& row : rows) ToWire(row, list.add_repositories());
  *reply = list.SerializeAsString();
  return {};
}

Status TakeSequence(OpContext* context, std::string_view /*body*/, std::string* reply) {
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const uint64_t sequence, context->mdt().GrantSequence(context->txn));
  reply->clear();
  AppendBig64(reply, sequence);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds
