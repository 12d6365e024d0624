// An import in two steps against the strict stub: names first, what HEADs say of them after it. The
// metadata server is a function.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

#include "agent/agent_service.h"
#include "agent/ask_object.h"
#include "agent/importer.h"
#include "support/s3_stub/stub.h"
#include "support/wait_poller.h"

namespace sheen::agent {
namespace {

class ImporterStepsTest : public ::testing::Test {
 protected:
  ImporterStepsTest() : stub_(s3_stub::StubOptions{}) {
    EXPECT_TRUE(stub_.Start("127.0.0.1", 0));
    bucket_ = &stub_.AddBucket("bucket");
    ::setenv("AWS_ACCESS_KEY_ID", "stub-access-key", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "stub-secret-key", 1);
    v1::Repository* const repository = all_.add_repositories();
    repository->set_id(3);
    repository->set_bucket("bucket");
    repository->set_prefix("p/");
    repository->set_endpoint(stub_.url());
    link_ = std::make_shared<Link>(&http_, &pool_, *repository, std::chrono::seconds(5));
  }
  void Put(const std::string& key, std::map<std::string, std::string> metadata = {}) {
    s3_stub::Object object{.size = 10};
    for (auto& [name, value] : metadata) object.metadata.emplace_back(name, value);
    bucket_->Put(key, object);
  }
  void PutLink(const std::string& key, const std::string& target) {
    s3_stub::Object object{.size = target.size(),
                           .bytes = std::make_shared<const std::string>(target)};
    object.metadata.emplace_back("file-permissions", "0120777");
    bucket_->Put(key, object);
  }
  // As the MDS: what is new is named and pending; of what is there and not pending it wants more.
  Result<v1::ImportEntriesReply> Take(const v1::ImportEntriesRequest& request) {
    const std::scoped_lock lock(mutex_);
    v1::ImportEntriesReply reply;
    for (int i = 0; i < request.entries_size(); ++i) {
      const v1::ImportEntry& entry = request.entries(i);
      const auto known = taken_.find(entry.key());
      if (request.probe()) {
        reply.add_wanted(static_cast<uint32_t>(i));
      } else if (known == taken_.end()) {
        reply.set_created(reply.created() + 1);
        if (request.pending()) pending_[next_fid_++] = entry.key();
        taken_[entry.key()] = entry;
      } else if (known->second.etag() == entry.etag()) {
        reply.set_unchanged(reply.unchanged() + 1);
      } else if (request.pending()) {
        reply.add_wanted(static_cast<uint32_t>(i));
      } else {
        reply.set_updated(reply.updated() + 1);
        taken_[entry.key()] = entry;
      }
    }
    heads_when_named_ = std::max(heads_when_named_, stub_.counters().operations["head"]);
    return reply;
  }
  Result<v1::ListPendingReply> List(const v1::ListPendingRequest& request) {
    const std::scoped_lock lock(mutex_);
    if (older_) return Fail(Errc::kNotSupported, "not offered there");
    v1::ListPendingReply reply;
    reply.set_total(pending_.size());
    reply.set_end(true);
    const uint32_t after = request.after().empty() ? 0 : std::stoul(request.after());
    reply.set_next(request.after());
    for (auto at = pending_.upper_bound(after); at != pending_.end(); ++at) {
      reply.set_end(static_cast<uint32_t>(reply.names_size()) < request.names_max());
      if (!reply.end()) break;
      v1::PendingName* const name = reply.add_names();
      name->mutable_fid()->set_oid(at->first);
      name->set_key(at->second);
      reply.set_next(std::to_string(at->first));
    }
    return reply;
  }
  Result<v1::FinishPendingReply> Finish(const v1::FinishPendingRequest& request) {
    const std::scoped_lock lock(mutex_);
    v1::FinishPendingReply reply;
    for (const v1::PendingAnswer& answer : request.answers()) {
      EXPECT_EQ(pending_[answer.fid().oid()], answer.key());
      pending_.erase(answer.fid().oid());
      answers_[answer.key()] = answer.answer();
      if (answer.answer().gone()) reply.set_dropped(reply.dropped() + 1);
      if (!answer.answer().gone()) reply.set_finished(reply.finished() + 1);
    }
    return reply;
  }
  static async::Task<int> RunIt(Importer* importer) {
    co_await importer->Run();
    co_return 1;
  }
  ImporterOptions Options() {
    return {.link = link_,
            .mds = {.import = [this](const auto& request) { return Take(request); },
                    .pending = [this](const auto& request) { return List(request); },
                    .finish = [this](const auto& request) { return Finish(request); }},
            .pool = &pool_,
            .head = head_};
  }
  v1::ImportProgress Import() {
    importer_ = std::make_unique<Importer>(Options());
    EXPECT_EQ(shard_.Await(RunIt(importer_.get())), 1);
    return importer_->Progress();
  }

  s3_stub::Stub stub_;
  s3_stub::Bucket* bucket_;
  s3::HttpClient http_;
  async::BlockingPool pool_{4};
  v1::ListRepositoriesReply all_;
  LinkPointer link_;
  std::unique_ptr<Importer> importer_;
  ShardRunner shard_;
  bool head_ = true;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, v1::ImportEntry> taken_;
  std::map<uint32_t, std::string> pending_;
  std::map<std::string, v1::ObjectAnswer> answers_;
  uint32_t next_fid_ = 1;
  uint64_t heads_when_named_ = 0;
  bool older_ = false;
};

TEST_F(ImporterStepsTest, AllNamesComeBeforeTheFirstQuestionAndEachIsAskedForOnce) {
  for (int i = 0; i < 2500; ++i) Put("p/f" + std::to_string(i), {{"file-permissions", "0100640"}});
  PutLink("p/link", "far/away");
  const v1::ImportProgress done = Import();
  EXPECT_EQ(done.error(), "");
  EXPECT_TRUE(done.named());
  EXPECT_EQ(done.created(), 2501U);
  EXPECT_EQ(done.finished(), 2501U);
  EXPECT_EQ(done.pending(), 2501U);
  EXPECT_EQ(done.asked(), 2501U);
  EXPECT_EQ(heads_when_named_, 0U);
  EXPECT_TRUE(pending_.empty());
  EXPECT_EQ(stub_.counters().operations["head"], 2501U);
  EXPECT_EQ(answers_["p/f7"].entry().mode(), S_IFREG | 0640U);
  EXPECT_EQ(answers_["p/link"].entry().mode(), S_IFLNK | 0777U);
  EXPECT_EQ(answers_["p/link"].entry().target(), "far/away");
}

TEST_F(ImporterStepsTest, WithoutQuestionsNothingIsPending) {
  Put("p/f");
  head_ = false;
  EXPECT_EQ(Import().created(), 1U);
  EXPECT_TRUE(pending_.empty());
  EXPECT_TRUE(answers_.empty());
  EXPECT_EQ(stub_.counters().operations["head"], 0U);
}

TEST_F(ImporterStepsTest, WhatHasChangedSinceIsAskedForBeforeItIsTaken) {
  Put("p/f");
  Put("p/g");
  Import();
  ASSERT_TRUE(stub_.Touch("bucket", "p/f"));
  stub_.ResetCounters();
  const v1::ImportProgress done = Import();
  EXPECT_EQ(done.error(), "");
  EXPECT_EQ(done.updated(), 1U);
  EXPECT_EQ(done.unchanged(), 1U);
  EXPECT_EQ(done.asked(), 0U);
  EXPECT_EQ(stub_.counters().operations["head"], 1U);
}

TEST_F(ImporterStepsTest, WhatAnEarlierImportLeftIsFinished) {
  Put("p/f");
  Put("p/gone");
  Put("p/refused");
  stub_.AddFault({.kind = "status", .method = "HEAD", .times = 0, .value = 403});
  const v1::ImportProgress first = Import();
  EXPECT_EQ(first.failed(), 3U);
  EXPECT_EQ(first.error(), "");
  EXPECT_EQ(pending_.size(), 3U);
  stub_.ClearFaults();
  stub_.AddFault(
      {.kind = "status", .method = "HEAD", .key = "p/refused", .times = 0, .value = 403});
  bucket_->Remove("p/gone");
  const v1::ImportProgress second = Import();
  EXPECT_EQ(second.error(), "");
  EXPECT_EQ(second.failed(), 1U);
  EXPECT_EQ(second.deleted(), 1U);
  EXPECT_EQ(pending_.size(), 1U);
  EXPECT_TRUE(answers_["p/gone"].gone());
}

TEST_F(ImporterStepsTest, AnOlderMdsGetsNamesWithAllOfTheirAttributes) {
  older_ = true;
  Put("p/f", {{"file-permissions", "0100640"}});
  EXPECT_EQ(Import().error(), "");
  EXPECT_EQ(taken_["p/f"].mode(), S_IFREG | 0640U);
  EXPECT_TRUE(pending_.empty());
}

async::Task<int> CancelWhenAsking(Importer* importer, const s3::HttpClient* http,
                                  const Link* link) {
  const Nanos until = async::Shard::Current()->Now() + std::chrono::seconds(30);
  while (http->Counters(link->client.link()).active < 100) {
    if (async::Shard::Current()->Now() >= until) co_return 0;
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(5));
  }
  importer->Cancel();
  co_return 1;
}

async::Task<std::vector<int>> Both(async::Task<int> one, async::Task<int> other) {
  std::vector<async::Task<int>> tasks;
  tasks.push_back(std::move(one));
  tasks.push_back(std::move(other));
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(ImporterStepsTest, ACancelledSecondStepLeavesTheRestPending) {
  for (int i = 0; i < 400; ++i) Put("p/f" + std::to_string(i));
  stub_.AddFault({.kind = "slow", .operation = "head", .times = 0, .value = 600'000});
  Importer importer(Options());
  shard_.Await(Both(RunIt(&importer), CancelWhenAsking(&importer, &http_, link_.get())));
  EXPECT_TRUE(importer.Progress().named());
  EXPECT_NE(importer.Progress().error(), "");
  EXPECT_EQ(importer.Progress().created(), 400U);
  EXPECT_EQ(pending_.size(), 400U);
}

TEST_F(ImporterStepsTest, AnAgentSaysOfEachKeyWhatS3Says) {
  AgentService service({.pool = &pool_, .refresh = [this] {
                          return Result<v1::ListRepositoriesReply>(all_);
                        }});
  Put("p/f", {{"file-permissions", "0100640"}, {"file-owner", "7"}});
  PutLink("p/link", "t");
  Put("p/refused");
  stub_.AddFault(
      {.kind = "status", .method = "HEAD", .key = "p/refused", .times = 0, .value = 403});
  v1::AskObjectsRequest request;
  request.set_repository(3);
  for (const char* key : {"p/link", "p/none", "p/f", "p/refused"}) request.add_keys(key);
  const auto reply = shard_.Await(service.AskObjects(request));
  ASSERT_TRUE(reply) << reply.error().ToString();
  ASSERT_EQ(reply->answers_size(), 4);
  EXPECT_EQ(reply->answers(0).entry().target(), "t");
  EXPECT_TRUE(reply->answers(1).gone());
  EXPECT_EQ(reply->answers(2).entry().mode(), S_IFREG | 0640U);
  EXPECT_EQ(reply->answers(2).entry().uid(), 7U);
  EXPECT_FALSE(reply->answers(3).gone());
  EXPECT_NE(reply->answers(3).error(), "");
  request.add_keys("elsewhere/f");
  EXPECT_EQ(shard_.Await(service.AskObjects(request)).error().code(), Errc::kAccess);
}

TEST_F(ImporterStepsTest, ASymbolicLinkWithoutATargetIsShownAsAFile) {
  PutLink("p/empty", "");
  PutLink("p/long", std::string(4096, 'x'));
  for (const char* key : {"p/empty", "p/long"}) {
    const v1::ObjectAnswer answer = shard_.Await(AskObject(link_.get(), {}, key));
    EXPECT_EQ(answer.error(), "") << key;
    EXPECT_EQ(answer.entry().mode(), S_IFREG | 0777U) << key;
  }
}

// A HEAD says no more than 404, whatever is missing.
TEST_F(ImporterStepsTest, OnlyAnObjectThatIsNotListedEitherIsGone) {
  EXPECT_TRUE(shard_.Await(AskObject(link_.get(), {}, "p/none")).gone());
  Put("p/hidden");
  stub_.AddFault(
      {.kind = "status", .method = "HEAD", .key = "p/hidden", .times = 0, .value = 404});
  const v1::ObjectAnswer hidden = shard_.Await(AskObject(link_.get(), {}, "p/hidden"));
  EXPECT_FALSE(hidden.gone());
  EXPECT_NE(hidden.error(), "");
  v1::Repository elsewhere = all_.repositories(0);
  elsewhere.set_bucket("no-such-bucket");
  Link other(&http_, &pool_, elsewhere, std::chrono::seconds(5));
  for (const bool name : {false, true}) {
    const v1::ObjectAnswer answer = shard_.Await(name ? FindObject(&other, {}, "p/f")
                                                      : AskObject(&other, {}, "p/f"));
    EXPECT_FALSE(answer.gone());
    EXPECT_NE(answer.error().find("bucket"), std::string::npos) << answer.error();
  }
}

TEST_F(ImporterStepsTest, ANameIsAnObjectOrADirectoryWithSomethingBelowIt) {
  AgentService service({.pool = &pool_, .refresh = [this] {
                          return Result<v1::ListRepositoriesReply>(all_);
                        }});
  Put("p/f", {{"file-permissions", "0100640"}});
  Put("p/f.more");
  Put("p/way/deep/g");
  Put("p/marked/", {{"file-permissions", "0040710"}});
  v1::AskObjectsRequest request;
  request.set_repository(3);
  request.set_names(true);
  for (const char* key : {"p/f", "p/way", "p/marked", "p/wa", "p/f.mor"}) request.add_keys(key);
  const auto reply = shard_.Await(service.AskObjects(request));
  ASSERT_TRUE(reply) << reply.error().ToString();
  ASSERT_TRUE(reply->names());
  ASSERT_EQ(reply->answers_size(), 5);
  EXPECT_EQ(reply->answers(0).entry().mode(), S_IFREG | 0640U);
  EXPECT_TRUE(reply->answers(1).directory_only());
  EXPECT_EQ(reply->answers(2).entry().mode(), S_IFDIR | 0710U);
  EXPECT_EQ(reply->answers(2).entry().key(), "p/marked/");
  EXPECT_TRUE(reply->answers(3).gone());
  EXPECT_TRUE(reply->answers(4).gone());
}

TEST_F(ImporterStepsTest, WhoHasAskedGetsWhatS3HasSaidInTime) {
  AgentService service({.pool = &pool_, .refresh = [this] {
                          return Result<v1::ListRepositoriesReply>(all_);
                        }});
  Put("p/f");
  Put("p/slow");
  stub_.AddFault(
      {.kind = "slow", .method = "HEAD", .key = "p/slow", .times = 0, .value = 60'000});
  v1::AskObjectsRequest request;
  request.set_repository(3);
  request.set_patience_ms(500);
  for (const char* key : {"p/f", "p/slow"}) request.add_keys(key);
  const auto reply = shard_.Await(service.AskObjects(request));
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(reply->answers(0).entry().key(), "p/f");
  EXPECT_EQ(reply->answers(1).error(), "S3 has not answered in time");
  EXPECT_FALSE(reply->answers(1).gone());
}

}  // namespace
}  // namespace sheen::agent
