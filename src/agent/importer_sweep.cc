// The other way round: names that imports have made, and whose objects are gone from S3.
//
// Only after a listing that is proven to be whole, and never by it alone: an object may have come
// back since, so each key is asked for once more. The MDS keeps what was changed, renamed, linked
// or pinned here, and directories that are not empty.
#include "agent/importer_ask.h"

namespace sheen::agent {

async::Task<Importer::Gone> Importer::IsGone(std::string key) {
  co_await heads_.Acquire(1);
  const s3::CallOptions call{.priority = s3::Priority::kQuestion, .stop = &stop_};
  const auto info = co_await options_.link->client.Head({.key = key, .call = call});
  heads_.Release(async::Shard::Current(), 1);
  if (info) co_return Gone::kNo;
  if (info.error().code() == Errc::kNoEntry) co_return Gone::kYes;
  NoteFailure(key, "not listed, but S3 does not say that it is gone; kept: " +
                       info.error().ToString());
  co_return Gone::kNo;
}

async::Task<Status> Importer::DropOf(const v1::Fid* directory,
                                     std::vector<v1::ImportedEntry> missing) {
  std::vector<async::Task<Gone>> asked;
  for (const v1::ImportedEntry& entry : missing) {
    if (!entry.directory()) asked.push_back(IsGone(entry.key()));
  }
  const std::vector<Gone> gone = co_await async::WhenAll(std::move(asked));
  v1::DropDeletedRequest request;
  request.set_repository(options_.link->repository.id());
  *request.mutable_directory() = *directory;
  size_t file = 0;
  for (const v1::ImportedEntry& entry : missing) {
    // Nothing is listed below such a directory: it goes if it is empty.
    if (entry.directory() || gone[file++] == Gone::kYes) *request.add_entries() = entry;
  }
  if (request.entries_size() == 0) co_return Status();
  const auto reply = co_await Ask(&options_.mds.drop, &request);
  if (!reply) co_return std::unexpected(reply.error());
  progress_.set_deleted(progress_.deleted() + reply->dropped());
  co_return Status();
}

async::Task<Status> Importer::Sweep(v1::Fid directory, std::string prefix) {
  v1::ListImportedRequest look;
  look.set_repository(options_.link->repository.id());
  *look.mutable_directory() = directory;
  for (;;) {
    if (stop_.cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
    const auto page = co_await Ask(&options_.mds.list, &look);
    if (!page) co_return std::unexpected(page.error());
    std::vector<v1::ImportedEntry> missing;
    for (const v1::ImportedEntry& entry : page->entries()) {
      const std::string key = prefix + entry.name() + (entry.directory() ? "/" : "");
      // What is below goes first; also in a directory that people have made.
      if (entry.directory()) SHEEN_CO_TRY(co_await Sweep(entry.fid(), key));
      // Renamed here: another name's object.
      if (entry.key() == key && !listed_keys_.Contains(key)) missing.push_back(entry);
    }
    if (!missing.empty()) SHEEN_CO_TRY(co_await DropOf(&directory, std::move(missing)));
    if (page->end()) co_return Status();
    look.set_cookie(page->cookie());
  }
}

}  // namespace sheen::agent
