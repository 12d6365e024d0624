// An import against the strict stub, with a metadata server that is a function.
#include "agent/importer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "support/s3_stub/stub.h"
#include "support/wait_poller.h"

namespace sheen::agent {
namespace {

class ImporterTest : public ::testing::Test {
 protected:
  ImporterTest() : stub_(s3_stub::StubOptions{}) {
    EXPECT_TRUE(stub_.Start("127.0.0.1", 0));
    bucket_ = &stub_.AddBucket("bucket");
    ::setenv("AWS_ACCESS_KEY_ID", "stub-access-key", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "stub-secret-key", 1);
    v1::Repository repository;
    repository.set_id(3);
    repository.set_bucket("bucket");
    repository.set_prefix("p/");
    repository.mutable_directory()->set_oid(1);
    repository.set_endpoint(stub_.url());
    link_ = std::make_shared<Link>(&http_, &pool_, repository, std::chrono::seconds(5));
  }
  void Put(const std::string& key, uint64_t size = 10,
           std::map<std::string, std::string> metadata = {}) {
    s3_stub::Object object{.size = size};
    for (auto& [name, value] : metadata) object.metadata.emplace_back(name, value);
    bucket_->Put(key, object);
  }
  // As the MDS: takes what it is given.
  Result<v1::ImportEntriesReply> Take(const v1::ImportEntriesRequest& request) {
    const std::scoped_lock lock(mutex_);
    if (away_ > 0) {
      --away_;
      return Fail(Errc::kUnavailable, "the MDS is away");
    }
    v1::ImportEntriesReply reply;
    if (request.probe()) {
      for (int i = 0; i < request.entries_size(); ++i) {
        const auto known = taken_.find(request.entries(i).path());
        const bool same =
            known != taken_.end() && known->second.etag() == request.entries(i).etag();
        if (same) reply.set_unchanged(reply.unchanged() + 1);
        if (!same) reply.add_wanted(static_cast<uint32_t>(i));
      }
      return reply;
    }
    for (const v1::ImportEntry& entry : request.entries()) {
      if (entry.path().starts_with("refused")) {
        v1::ImportFailure* const failure = reply.add_failures();
        failure->set_key(entry.key());
        failure->set_reason("a file of this name is here");
        continue;
      }
      reply.set_created(reply.created() + 1);
      taken_[entry.path()] = entry;
    }
    return reply;
  }
  // One directory "d" of everything that was taken, and what is above it.
  Result<v1::ListImportedReply> List(const v1::ListImportedRequest& request) {
    const std::scoped_lock lock(mutex_);
    v1::ListImportedReply reply;
    reply.set_end(true);
    const bool top = request.directory().oid() == 1;
    const auto below = [](const auto& taken) { return taken.first.starts_with("d/"); };
    if (top && std::ranges::any_of(taken_, below)) {
      v1::ImportedEntry* const directory = reply.add_entries();
      directory->set_name("d");
      directory->set_directory(true);
      directory->mutable_fid()->set_oid(2);
      directory->set_key("p/d/");
    }
    for (const auto& [path, entry] : taken_) {
      if (path.starts_with("d/") == top) continue;
      v1::ImportedEntry* const file = reply.add_entries();
      file->set_name(top ? path : path.substr(2));
      file->set_key(path == "moved" ? "p/before" : entry.key());
    }
    return reply;
  }
  Result<v1::DropDeletedReply> Drop(const v1::DropDeletedRequest& request) {
    const std::scoped_lock lock(mutex_);
    v1::DropDeletedReply reply;
    for (const v1::ImportedEntry& entry : request.entries()) dropped_.push_back(entry.key());
    reply.set_dropped(static_cast<uint64_t>(request.entries_size()));
    return reply;
  }
  static async::Task<bool> RunIt(Importer* importer) {
    co_await importer->Run();
    co_return true;
  }
  v1::ImportProgress Import(bool head = true) {
    importer_ = std::make_unique<Importer>(
        ImporterOptions{.link = link_,
                        .mds = {.import = [this](const auto& request) { return Take(request); },
                                .list = [this](const auto& request) { return List(request); },
                                .drop = [this](const auto& request) { return Drop(request); }},
                        .pool = &pool_,
                        .head = head,
                        .what = what_});
    EXPECT_TRUE(shard_.Await(RunIt(importer_.get())));
    return importer_->Progress();
  }

  s3_stub::Stub stub_;
  s3_stub::Bucket* bucket_;
  s3::HttpClient http_;
  async::BlockingPool pool_{4};
  LinkPointer link_;
  std::unique_ptr<Importer> importer_;
  ShardRunner shard_;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, v1::ImportEntry> taken_;
  int away_ = 0;
  std::vector<std::string> dropped_;
  uint32_t what_ = kImportDefault;
};

TEST_F(ImporterTest, EveryKeyBecomesAnEntryOrAFailureAndTheProofSaysSo) {
  for (int i = 0; i < 2500; ++i) Put("p/d" + std::to_string(i % 7) + "/f" + std::to_string(i));
  Put("p/bad//name");
  Put("p/refused");
  Put("elsewhere");
  const v1::ImportProgress done = Import(false);
  EXPECT_TRUE(done.done());
  EXPECT_EQ(done.error(), "");
  EXPECT_EQ(done.listed(), 2502U);
  EXPECT_EQ(done.finished(), 2500U);
  EXPECT_EQ(done.created(), 2500U);
  EXPECT_EQ(done.failed(), 2U);
  EXPECT_EQ(taken_.size(), 2500U);
  v1::ImportProgress failures;
  importer_->AddFailures(0, &failures);
  EXPECT_EQ(failures.failures_size(), 2);
}

TEST_F(ImporterTest, ManyFailuresComeInParts) {
  const std::string long_name(200, 'x');
  constexpr uint64_t kKeys = 8000;
  for (uint64_t i = 0; i < kKeys; ++i) {
    Put("p/refused" + std::to_string(i) + "/" + long_name);
  }
  const v1::ImportProgress done = Import(false);
  EXPECT_EQ(done.failures_kept(), kKeys);
  uint64_t from = 0;
  int parts = 0;
  while (from < done.failures_kept()) {
    v1::ImportProgress part;
    importer_->AddFailures(from, &part);
    ASSERT_GT(part.failures_size(), 0);
    EXPECT_LT(part.ByteSizeLong(), 2U << 20);
    from += static_cast<uint64_t>(part.failures_size());
    ++parts;
  }
  EXPECT_EQ(from, kKeys);
  EXPECT_GT(parts, 1);
}

TEST_F(ImporterTest, AttributesAreAskedForBeforeANameAppears) {
  Put("p/f", 10, {{"file-permissions", "0100640"}, {"file-owner", "7"}});
  Put("p/dir/", 0, {{"file-permissions", "0040701"}});
  EXPECT_EQ(Import().created(), 2U);
  EXPECT_EQ(taken_["f"].mode(), S_IFREG | 0640U);
  EXPECT_EQ(taken_["f"].uid(), 7U);
  EXPECT_EQ(taken_["dir"].mode(), S_IFDIR | 0701U);
}

TEST_F(ImporterTest, OnlyWhatIsNewOrChangedIsAskedFor) {
  Put("p/same");
  Put("p/other");
  EXPECT_EQ(Import().created(), 2U);
  stub_.ResetCounters();
  ASSERT_TRUE(stub_.Touch("bucket", "p/other"));
  Put("p/new");
  const v1::ImportProgress done = Import();
  EXPECT_EQ(done.error(), "");
  EXPECT_EQ(done.unchanged(), 1U);
  EXPECT_EQ(done.finished(), 3U);
  EXPECT_EQ(stub_.counters().operations["head"], 2U);
}

TEST_F(ImporterTest, NamesWhoseObjectsAreGoneAreDroppedAndNoOthers) {
  for (const char* key : {"p/a", "p/b", "p/d/c", "p/d/e", "p/moved"}) Put(key);
  what_ = kImportDefault | v1::IMPORT_DELETED;
  EXPECT_EQ(Import(false).deleted(), 0U);
  EXPECT_TRUE(dropped_.empty());
  for (const char* key : {"p/a", "p/d/c", "p/moved"}) bucket_->Remove(key);
  const v1::ImportProgress done = Import(false);
  EXPECT_EQ(done.error(), "");
  EXPECT_EQ(done.deleted(), 2U);
  std::ranges::sort(dropped_);
  EXPECT_EQ(dropped_, (std::vector<std::string>{"p/a", "p/d/c"}));
  // And with the last of them the directory, which the MDS drops if it is empty.
  dropped_.clear();
  bucket_->Remove("p/d/e");
  Import(false);
  EXPECT_TRUE(std::ranges::find(dropped_, "p/d/") != dropped_.end());
}

TEST_F(ImporterTest, WhatIsNotSurelyGoneStays) {
  Put("p/a");
  what_ = kImportDefault | v1::IMPORT_DELETED;
  Import(false);
  bucket_->Remove("p/a");
  stub_.AddFault({.kind = "status", .method = "HEAD", .key = "p/a", .times = 0, .value = 403});
  EXPECT_EQ(Import(false).deleted(), 0U);
  stub_.ClearFaults();
  stub_.AddFault(
      {.kind = "status", .operation = "list", .times = 0, .value = 403, .code = "AccessDenied"});
  EXPECT_NE(Import(false).error(), "");
  stub_.ClearFaults();
  EXPECT_TRUE(dropped_.empty());
  EXPECT_EQ(Import(false).deleted(), 1U);
}

TEST_F(ImporterTest, AnMdsThatIsAwayIsWaitedFor) {
  Put("p/f");
  away_ = 3;
  const v1::ImportProgress done = Import(false);
  EXPECT_EQ(done.error(), "");
  EXPECT_EQ(done.created(), 1U);
}

TEST_F(ImporterTest, AKeyThatCannotBeAskedForIsAFailureOfItsOwn) {
  Put("p/f");
  Put("p/g");
  stub_.AddFault({.kind = "status", .method = "HEAD", .key = "p/g", .times = 0, .value = 403});
  const v1::ImportProgress done = Import();
  EXPECT_EQ(done.created(), 1U);
  EXPECT_EQ(done.failed(), 1U);
  EXPECT_EQ(done.error(), "");
}

TEST_F(ImporterTest, AListingThatBreaksIsAnError) {
  Put("p/f");
  stub_.AddFault(
      {.kind = "status", .operation = "list", .times = 0, .value = 403, .code = "AccessDenied"});
  const v1::ImportProgress done = Import();
  EXPECT_TRUE(done.done());
  EXPECT_NE(done.error().find("AccessDenied"), std::string::npos);
}

async::Task<int> RunToEnd(Importer* importer) {
  co_await importer->Run();
  co_return 0;
}

async::Task<int> CancelWhenActive(Importer* importer, const s3::HttpClient* http,
                                  const Link* link, uint32_t wanted, uint32_t* seen) {
  const Nanos until = async::Shard::Current()->Now() + std::chrono::seconds(30);
  while (async::Shard::Current()->Now() < until && *seen < wanted) {
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(5));
    *seen = http->Counters(link->client.link()).active;
  }
  importer->Cancel();
  co_return 0;
}

async::Task<std::vector<int>> RunUntilActive(Importer* importer, const s3::HttpClient* http,
                                             const Link* link, uint32_t wanted, uint32_t* seen) {
  std::vector<async::Task<int>> tasks;
  tasks.push_back(RunToEnd(importer));
  tasks.push_back(CancelWhenActive(importer, http, link, wanted, seen));
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(ImporterTest, MoreHeadsAreUnderWayThanBodiesHavePlaces) {
  for (int i = 0; i < 150; ++i) Put("p/f" + std::to_string(i));
  stub_.AddFault({.kind = "slow", .operation = "head", .times = 0, .value = 600'000});
  Importer importer({.link = link_,
                     .mds = {.import = [this](const auto& request) { return Take(request); }},
                     .pool = &pool_});
  uint32_t seen = 0;
  static_cast<void>(shard_.Await(RunUntilActive(&importer, &http_, link_.get(), 150, &seen)));
  EXPECT_EQ(seen, 150U);
  EXPECT_EQ(importer.Progress().failed(), 150U);
}

}  // namespace
}  // namespace sheen::agent
