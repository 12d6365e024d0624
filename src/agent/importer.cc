#include "agent/importer.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "agent/entry.h"
#include "async/shard.h"
#include "base/log.h"

namespace sheen::agent {
namespace {

constexpr size_t kSymlinkBytesMax = 4095;
// While the MDS is away a batch is sent again for so long.
constexpr Nanos kMdsPatience = std::chrono::seconds(120);
constexpr Nanos kMdsRetry = std::chrono::milliseconds(500);
constexpr size_t kFailuresMax = 1'000'000;

}  // namespace

void Importer::NoteFailure(const std::string& key, const std::string& reason) {
  failed_.Add(key);
  if (failures_.size() >= kFailuresMax) return;
  v1::ImportFailure& failure = failures_.emplace_back();
  failure.set_key(key);
  failure.set_reason(reason);
}

// Type, owner, mode and times; the target of a symbolic link.
async::Task<Status> Importer::Complete(Item* item) {
  s3::Client* const client = &options_.link->client;
  const s3::CallOptions call{.priority = s3::Priority::kPrefetch, .stop = &stop_};
  if (options_.head) {
    co_await heads_.Acquire(1);
    const auto info = co_await client->Head({.key = item->entry.key(), .call = call});
    heads_.Release(async::Shard::Current(), 1);
    if (!info) {
      item->status = std::unexpected(info.error());
      co_return Status();
    }
    AddAttributes(*info, &item->entry);
    if (!info->readable) {
      SHEEN_LOG(Warn, "'{}' is archived ({}); it can be read once it is restored there",
                item->entry.key(), info->storage_class);
    }
  }
  if (!S_ISLNK(item->entry.mode())) co_return Status();
  if (item->entry.size() == 0 || item->entry.size() > kSymlinkBytesMax) {
    item->status = Fail(Errc::kInvalid, "a symbolic link whose object cannot hold its target");
    co_return Status();
  }
  std::string target(item->entry.size(), '\0');
  const MutableByteSpan into(reinterpret_cast<std::byte*>(target.data()), target.size());
  s3::GetRangeRequest request{.key = item->entry.key(), .offset = 0, .size = target.size(),
                              .etag = item->entry.etag(), .call = call};
  co_await heads_.Acquire(1);
  const auto got = co_await client->GetRange(std::move(request), into);
  heads_.Release(async::Shard::Current(), 1);
  if (!got) item->status = std::unexpected(got.error());
  item->entry.set_target(target);
  co_return Status();
}

async::Task<Status> Importer::Send(std::vector<Item>* items) {
  v1::ImportEntriesRequest request;
  request.set_repository(options_.link->repository.id());
  std::map<std::string, size_t> sent;
  for (const Item& item : *items) {
    if (!item.status) {
      NoteFailure(item.entry.key(), item.status.error().ToString());
    } else if (item.entry.path().empty()) {
      finished_.Add(item.entry.key());  // the prefix itself: the directory that is linked
    } else {
      *request.add_entries() = item.entry;
    }
  }
  if (request.entries_size() == 0) co_return Status();
  co_await batches_.Acquire(1);
  Result<v1::ImportEntriesReply> reply = Fail(Errc::kUnavailable);
  const Nanos until = async::Shard::Current()->Now() + kMdsPatience;
  for (;;) {
    std::function<Result<v1::ImportEntriesReply>()> call = [this, &request] {
      return options_.import(request);
    };
    reply = co_await options_.pool->Run<Result<v1::ImportEntriesReply>>(std::move(call));
    const bool again = !reply && reply.error().error_class() != ErrClass::kFail &&
                       async::Shard::Current()->Now() < until && !stop_.cancelled();
    if (!again) break;
    co_await async::Shard::Current()->Sleep(kMdsRetry);
  }
  batches_.Release(async::Shard::Current(), 1);
  if (!reply) co_return std::unexpected(reply.error());
  std::map<std::string, bool> failed;
  for (const v1::ImportFailure& failure : reply->failures()) {
    failed[failure.key()] = true;
    NoteFailure(failure.key(), failure.reason());
  }
  for (const v1::ImportEntry& entry : request.entries()) {
    if (!failed.contains(entry.key())) finished_.Add(entry.key());
  }
  progress_.set_created(progress_.created() + reply->created());
  progress_.set_updated(progress_.updated() + reply->updated());
  progress_.set_unchanged(progress_.unchanged() + reply->unchanged());
  co_return Status();
}

async::Task<Status> Importer::Take(std::vector<s3::ListEntry> entries) {
  if (stop_.cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
  std::vector<Item> items;
  items.reserve(entries.size());
  for (const s3::ListEntry& listed : entries) {
    listed_.Add(listed.key);
    progress_.set_bytes(progress_.bytes() + listed.size);
    auto entry = EntryOf(options_.link->repository.prefix(), listed);
    if (entry) {
      items.push_back({std::move(*entry), {}});
    } else {
      NoteFailure(listed.key, entry.error().message());
    }
  }
  std::vector<async::Task<Status>> tasks;
  tasks.reserve(items.size());
  for (Item& item : items) tasks.push_back(Complete(&item));
  const std::vector<Status> done = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : done) SHEEN_CO_TRY(one);
  co_return co_await Send(&items);
}

std::string Importer::CheckProof() const {
  s3::KeyDigest both = finished_;
  both.Add(failed_);
  if (both == listed_) return {};
  return fmt::format("{} keys were listed (hash {:016x}), {} were imported or have failed (hash "
                     "{:016x}): import again",
                     listed_.count, listed_.hash, both.count, both.hash);
}

async::Task<void> Importer::Run() {
  began_ = async::Shard::Current()->Now();
  s3::Lister lister(&options_.link->client,
                    {.prefix = options_.link->repository.prefix(),
                     .concurrency = options_.list_concurrency,
                     .call = {.priority = s3::Priority::kPrefetch, .stop = &stop_}});
  const Result<s3::ListSummary> all = co_await lister.Run(this);
  std::string error = all ? CheckProof() : all.error().ToString();
  if (all && error.empty() && all->digest != listed_) error = "pages of the listing are missing";
  progress_.set_error(error);
  progress_.set_seconds(
      std::chrono::duration<double>(async::Shard::Current()->Now() - began_).count());
  progress_.set_done(true);
}

v1::ImportProgress Importer::Progress(bool all) const {
  v1::ImportProgress out = progress_;
  out.set_listed(listed_.count);
  out.set_listed_hash(listed_.hash);
  out.set_finished(finished_.count);
  out.set_finished_hash(finished_.hash);
  out.set_failed(failed_.count);
  if (!out.done() && began_ != Nanos(0)) {
    out.set_seconds(
        std::chrono::duration<double>(async::Shard::Current()->Now() - began_).count());
  }
  for (const v1::ImportFailure& failure : failures_) {
    if (all) *out.add_failures() = failure;
  }
  return out;
}

}  // namespace sheen::agent
