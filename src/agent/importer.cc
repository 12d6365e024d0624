#include "agent/importer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "agent/ask_object.h"
#include "agent/entry.h"
#include "agent/importer_ask.h"
#include "async/shard.h"

namespace sheen::agent {
namespace {

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

async::Task<Status> Importer::Complete(Item* item) {
  if (!options_.head) co_return Status();
  co_await heads_.Acquire(1);
  item->status = co_await AskAttributes(options_.link.get(), {.stop = &stop_}, &item->entry);
  heads_.Release(async::Shard::Current(), 1);
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
  Note(request, *reply);
  co_return Status();
}

// What of the request is not `wanted` has ended.
void Importer::Note(const v1::ImportEntriesRequest& request, const v1::ImportEntriesReply& reply) {
  std::set<std::string> failed;
  for (const v1::ImportFailure& failure : reply.failures()) {
    failed.insert(failure.key());
    NoteFailure(failure.key(), failure.reason());
  }
  const std::set<uint32_t> wanted(reply.wanted().begin(), reply.wanted().end());
  for (int i = 0; i < request.entries_size(); ++i) {
    const std::string& key = request.entries(i).key();
    if (!wanted.contains(static_cast<uint32_t>(i)) && !failed.contains(key)) finished_.Add(key);
  }
  progress_.set_created(progress_.created() + reply.created());
  progress_.set_updated(progress_.updated() + reply.updated());
  progress_.set_unchanged(progress_.unchanged() + reply.unchanged());
  progress_.set_skipped(progress_.skipped() + reply.skipped());
  progress_.set_deleted(progress_.deleted() + reply.dropped());
}

async::Task<Status> Importer::Name(std::vector<Item>* items) {
  v1::ImportEntriesRequest request = NewRequest();
  request.set_pending(true);
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
  for (const uint32_t changed : reply->wanted()) {
    if (changed >= asked.size()) co_return Fail(Errc::kProtocol, "a bad answer to an import");
    items->push_back(asked[changed]);
  }
  Note(request, *reply);
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
  if (two_steps_) {
    SHEEN_CO_TRY(co_await Name(&items));
  } else if (options_.head) {
    SHEEN_CO_TRY(co_await Probe(&items));
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
  two_steps_ = options_.head && !options_.remove && co_await KnowsPending();
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
  if (error.empty() && Wants(v1::IMPORT_NEW) && !options_.remove) {
    v1::ImportEntriesRequest named;
    named.set_repository(options_.link->repository.id());
    named.set_all_named(true);
    const auto told = co_await Ask(&options_.mds.import, &named);
    if (!told) error = told.error().ToString();
  }
  progress_.set_named(error.empty());
  progress_.set_named_seconds(
      std::chrono::duration<double>(async::Shard::Current()->Now() - began_).count());
  if (error.empty() && two_steps_) {
    const Status finished = co_await FinishAll();
    if (!finished) error = finished.error().ToString();
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
