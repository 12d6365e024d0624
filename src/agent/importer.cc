#include "agent/importer.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "agent/entry.h"
#include "agent/importer_ask.h"
#include "async/shard.h"
#include "base/log.h"

namespace sheen::agent {
namespace {

constexpr size_t kSymlinkBytesMax = 4095;
// Of about 200 bytes; beyond it they are only counted.
constexpr size_t kFailuresMax = 1'000'000;
constexpr size_t kFailureBytesPerAnswer = 1 << 20;
constexpr size_t kFailuresShown = 10;

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
  if (options_.head) {
    co_await heads_.Acquire(1);
    const auto info = co_await client->Head(
        {.key = item->entry.key(),
         .call = {.priority = s3::Priority::kQuestion, .stop = &stop_}});
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
                              .etag = item->entry.etag(),
                              .call = {.priority = s3::Priority::kAhead, .stop = &stop_}};
  co_await heads_.Acquire(1);
  const auto got = co_await client->GetRange(std::move(request), into);
  heads_.Release(async::Shard::Current(), 1);
  if (!got) item->status = std::unexpected(got.error());
  item->entry.set_target(target);
  co_return Status();
}

v1::ImportEntriesRequest Importer::NewRequest() const {
  v1::ImportEntriesRequest request;
  request.set_repository(options_.link->repository.id());
  request.set_skip_new(!Wants(v1::IMPORT_NEW));
  request.set_skip_changed(!Wants(v1::IMPORT_CHANGED));
  request.set_drop(options_.remove);
  return request;
}

async::Task<Status> Importer::Probe(std::vector<Item>* items) {
  v1::ImportEntriesRequest request = NewRequest();
  request.set_probe(true);
  std::vector<Item> asked;
  for (Item& item : *items) {
    if (item.entry.path().empty()) {
      finished_.Add(item.entry.key());  // the prefix itself: the directory that is linked
      continue;
    }
    *request.add_entries() = item.entry;
    asked.push_back(std::move(item));
  }
  items->clear();
  if (asked.empty()) co_return Status();
  co_await batches_.Acquire(1);
  const auto reply = co_await Ask(&options_.mds.import, &request);
  batches_.Release(async::Shard::Current(), 1);
  if (!reply) co_return std::unexpected(reply.error());
  size_t next = 0;
  for (const uint32_t wanted : reply->wanted()) {
    if (wanted >= asked.size() || wanted < next) co_return Fail(Errc::kProtocol, "a bad probe");
    for (; next < wanted; ++next) finished_.Add(asked[next].entry.key());
    items->push_back(std::move(asked[next++]));
  }
  for (; next < asked.size(); ++next) finished_.Add(asked[next].entry.key());
  progress_.set_unchanged(progress_.unchanged() + reply->unchanged());
  progress_.set_skipped(progress_.skipped() + reply->skipped());
  co_return Status();
}

async::Task<Status> Importer::Send(std::vector<Item>* items) {
  v1::ImportEntriesRequest request = NewRequest();
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
  const auto reply = co_await Ask(&options_.mds.import, &request);
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
  progress_.set_skipped(progress_.skipped() + reply->skipped());
  progress_.set_deleted(progress_.deleted() + reply->dropped());
  co_return Status();
}

async::Task<Status> Importer::Take(std::vector<s3::ListEntry> entries) {
  if (stop_.cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
  std::vector<Item> items;
  items.reserve(entries.size());
  for (const s3::ListEntry& listed : entries) {
    listed_.Add(listed.key);
    if (Wants(v1::IMPORT_DELETED)) listed_keys_.Add(listed.key);
    progress_.set_bytes(progress_.bytes() + listed.size);
    auto entry = EntryOf(options_.link->repository.prefix(), listed);
    if (entry) {
      items.push_back({std::move(*entry), {}});
    } else {
      NoteFailure(listed.key, entry.error().message());
    }
  }
  // Without HEADs there is nothing to be saved by asking first.
  if (options_.remove) co_return co_await Send(&items);
  if (options_.head) SHEEN_CO_TRY(co_await Probe(&items));
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
                     .call = {.priority = s3::Priority::kAhead, .stop = &stop_}});
  const Result<s3::ListSummary> all = co_await lister.Run(this);
  std::string error = all ? CheckProof() : all.error().ToString();
  if (all && error.empty() && all->digest != listed_) error = "pages of the listing are missing";
  if (error.empty() && Wants(v1::IMPORT_DELETED) && !options_.remove) {
    const Status swept = co_await Sweep(options_.link->repository.directory(),
                                        options_.link->repository.prefix());
    if (!swept) error = swept.error().ToString();
  }
  progress_.set_error(error);
  progress_.set_seconds(
      std::chrono::duration<double>(async::Shard::Current()->Now() - began_).count());
  progress_.set_done(true);
}

v1::ImportProgress Importer::Progress() const {
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
  out.set_failures_kept(failures_.size());
  return out;
}

void Importer::AddFirstFailures(v1::ImportProgress* out) const {
  for (size_t i = 0; i < failures_.size() && i < kFailuresShown; ++i) {
    *out->add_failures() = failures_[i];
  }
}

void Importer::AddFailures(uint64_t from, v1::ImportProgress* out) const {
  size_t bytes = 0;
  for (size_t i = from; i < failures_.size() && bytes < kFailureBytesPerAnswer; ++i) {
    *out->add_failures() = failures_[i];
    bytes += failures_[i].key().size() + failures_[i].reason().size();
  }
}

}  // namespace sheen::agent
