// The MDS's own operations on data repositories: rows of the config family. Serialized by the
// superblock's latch.
#include <fmt/format.h>

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

Result<std::vector<mdt::RepositoryRow>> ReadRows(const mdt::Txn& txn) {
  std::vector<mdt::RepositoryRow> rows;
  Status parsed;
  const std::string prefix(mdt::kRepositoryPrefix);
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
  return row;
}

Status CheckOverlap(const std::vector<mdt::RepositoryRow>& rows, const v1::Repository& wanted) {
  for (const mdt::RepositoryRow& row : rows) {
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
  v1::Repository wanted;
  if (!wanted.ParseFromString(std::string(body))) return Fail(Errc::kProtocol, "a bad repository");
  SHEEN_TRY(context->Latch(mdt::Mdt::kSuperblockLatch));
  SHEEN_TRY_ASSIGN(const std::vector<mdt::RepositoryRow> rows, ReadRows(*context->txn));
  SHEEN_TRY(CheckOverlap(rows, wanted));
  if (!wanted.has_directory()) return {};  // only asked whether it could be
  SHEEN_TRY_ASSIGN(const auto next,
                   context->txn->Get(mdt::kConfig, std::string(mdt::kNextRepositoryKey)));
  mdt::RepositoryRow row = FromWire(wanted);
  row.id = next && next->size() == sizeof(uint32_t) ? LoadBig32(next->data()) : 1;
  row.created_ns = context->now_ns;
  std::string after;
  AppendBig32(&after, row.id + 1);
  context->txn->Put(mdt::kConfig, std::string(mdt::kNextRepositoryKey), after);
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
    context->durable = true;
    return {};
  }
  return Fail(Errc::kNoEntry, fmt::format("{} is no data repository; `sheen repo list` shows them",
                                          body));
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
