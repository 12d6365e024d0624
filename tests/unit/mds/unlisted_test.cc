// Names that no import has made yet: who looks for one sees what S3 has, and nothing that was taken
// away here comes back.
#include "mds/unlisted.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "mds/questions.h"
#include "mds/repositories.h"
#include "unit/mds/mds_fixture.h"

namespace sheen::mds {
namespace {

using Op = rpc::Opcode;

// A bucket: every object is 0640 of user 7.
class FakeBucket final : public rpc::AgentCalls {
 public:
  async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AgentEntry /*agent*/,
                                                      v1::AskObjectsRequest request,
                                                      std::function<bool()> wanted) override {
    ++calls;
    most_at_a_time = std::max(most_at_a_time, ++at_a_time);
    for (const std::string& key : request.keys()) asked.push_back(key);
    const Nanos until = async::Shard::Current()->Now() + takes;
    while (async::Shard::Current()->Now() < until && wanted()) {
      co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(10));
    }
    --at_a_time;
    if (!wanted()) co_return Fail(Errc::kUnavailable, "the call was ended");
    v1::AskObjectsReply reply;
    reply.set_names(request.names() && !older);
    for (const std::string& key : request.keys()) {
      *reply.add_answers() = AnswerOf(key, reply.names());
    }
    co_return reply;
  }
  v1::ObjectAnswer AnswerOf(const std::string& key, bool name) const {
    v1::ObjectAnswer answer;
    const auto below = keys.lower_bound(key + "/");
    const bool directory = name && below != keys.end() && below->starts_with(key + "/");
    if (!error.empty()) {
      answer.set_error(error);
    } else if (keys.contains(key)) {
      FillEntry(key, answer.mutable_entry());
    } else if (directory && *below == key + "/") {
      FillEntry(*below, answer.mutable_entry());
    } else if (directory) {
      answer.set_directory_only(true);
    } else {
      answer.set_gone(true);
    }
    return answer;
  }
  static void FillEntry(const std::string& key, v1::ImportEntry* entry) {
    entry->set_key(key);
    entry->set_etag("\"e1\"");
    entry->set_modified_ns(70'000'000'000);  // a HEAD has whole seconds
    const bool directory = key.ends_with('/');
    entry->set_size(directory ? 0 : 1000);
    entry->set_mode(directory ? S_IFDIR | 0710U : S_IFREG | 0640U);
    entry->set_uid(7);
    entry->set_given(v1::GIVEN_MODE | v1::GIVEN_UID);
  }

  std::set<std::string> keys;
  std::string error;
  bool older = false;
  int calls = 0;
  int at_a_time = 0;
  int most_at_a_time = 0;
  std::vector<std::string> asked;
  Nanos takes = std::chrono::milliseconds(30);
};

class UnlistedTest : public MdsFixture {
 protected:
  void SetUp() override {
    agents_ = &bucket_;
    MdsFixture::SetUp();
    Add(true);
  }
  void Add(bool import) {
    v1::AddRepositoryRequest request;
    request.mutable_repository()->set_path("/data");
    request.mutable_repository()->set_bucket("bucket");
    request.mutable_repository()->set_prefix("pre");
    request.set_import(import);
    const auto added = Run(service_->repositories()->AddRepository(request));
    ASSERT_TRUE(added) << added.error().ToString();
    link_ = added->repository().id();
    data_ = Find(kRootFid, "data");
    AgentBeats();
  }
  void Remove() {
    v1::RemoveRepositoryRequest request;
    request.set_path("/data");
    request.set_keep_data(true);
    ASSERT_TRUE(Run(service_->repositories()->RemoveRepository(request)));
  }
  void AgentBeats() {
    v1::AgentHeartbeatRequest beat;
    beat.set_fsname("sheen");
    beat.mutable_agent()->set_name("one");
    EXPECT_TRUE(Run(service_->repositories()->AgentHeartbeat(beat)));
  }
  v1::ImportEntriesReply Import(const v1::ImportEntriesRequest& request) {
    const auto done = Run(service_->repositories()->ImportEntries(request));
    EXPECT_TRUE(done) << done.error().ToString();
    return done ? *done : v1::ImportEntriesReply();
  }
  // A page of the listing.
  v1::ImportEntriesReply Take(const std::vector<std::string>& paths) {
    v1::ImportEntriesRequest request;
    request.set_repository(link_);
    request.set_pending(true);
    for (const std::string& path : paths) {
      v1::ImportEntry* const entry = request.add_entries();
      FakeBucket::FillEntry("pre/" + path, entry);
      entry->set_path(path.substr(0, path.find_last_not_of('/') + 1));
      entry->set_modified_ns(70'077'000'000);
      entry->clear_given();
    }
    return Import(request);
  }
  void AllNamed() {
    v1::ImportEntriesRequest request;
    request.set_repository(link_);
    request.set_all_named(true);
    Import(request);
  }
  bool IsUnlisted() {
    const auto all = Run(service_->repositories()->ListRepositories({}));
    return all && all->unlisted_size() == 1 && all->unlisted(0) == link_;
  }
  // Absent, and S3 was asked so many times for that.
  void ExpectAbsent(const Fid& parent, const std::string& name, int asked) {
    const int before = bucket_.calls;
    const auto found = Lookup(parent, name);
    EXPECT_TRUE(found.status == Errc::kNoEntry || found.reply.negative()) << name;
    EXPECT_EQ(bucket_.calls - before, asked) << name;
  }

  // A lookup that goes on while the test does.
  void Begin(const Fid& parent, const std::string& name, std::vector<Errc>* out) {
    v1::LookupRequest look;
    SetFid(parent, look.mutable_parent());
    look.set_name(name);
    shard_.Post([this, body = look.SerializeAsString(), out] {
      rpc::Request request;
      request.header.opcode = Op::kMdsLookup;
      request.header.xid = next_xid_++;
      request.body = body;
      request.session = session_;
      shard_.Spawn(Look(service_.get(), std::move(request), out));
    });
  }
  static async::Task<void> Look(MdsService* service, rpc::Request request,
                                std::vector<Errc>* out) {
    const rpc::Response response = co_await service->Handle(std::move(request));
    out->push_back(response.status);
  }

  FakeBucket bucket_;
  uint32_t link_ = 0;
  Fid data_;
};

TEST_F(UnlistedTest, WhoLooksSeesWhatS3HasBeforeAnImportHasMadeIt) {
  bucket_.keys = {"pre/a/b/f", "pre/f", "pre/marked/", "pre/marked/g"};
  const auto found = Lookup(data_, "f");
  ASSERT_TRUE(found.ok()) << found.message;
  EXPECT_EQ(found.reply.attr().mode(), S_IFREG | 0640U);
  EXPECT_EQ(found.reply.attr().uid(), 7U);
  EXPECT_EQ(found.reply.attr().size(), 1000U);
  EXPECT_EQ(bucket_.asked, std::vector<std::string>{"pre/f"});
  Lookup(data_, "f");
  EXPECT_EQ(bucket_.calls, 1);
  const Fid a = Find(data_, "a");
  EXPECT_EQ(Attr(a).mode(), S_IFDIR | 0755U);
  EXPECT_NE(Find(Find(a, "b"), "f"), Fid());
  EXPECT_EQ(Lookup(data_, "marked").reply.attr().mode(), S_IFDIR | 0710U);
  EXPECT_TRUE(IsUnlisted());
  // The import finds them as they are.
  EXPECT_EQ(Take({"a/b/f", "f", "marked/", "marked/g"}).failures_size(), 0);
  EXPECT_EQ(Find(data_, "a"), a);
}

TEST_F(UnlistedTest, WhatIsAbsentIsAskedForAgainAfterAWhile) {
  ExpectAbsent(data_, "f", 1);
  bucket_.keys = {"pre/f", "pre/fa"};
  ExpectAbsent(data_, "f", 0);
  RunFor(UnlistedLinks::kAbsentFor);
  AgentBeats();
  EXPECT_NE(Find(data_, "f"), Fid());
  ExpectAbsent(data_, "g", 1);
}

TEST_F(UnlistedTest, WhatIsTakenAwayHereDoesNotComeBack) {
  bucket_.keys = {"pre/d/x", "pre/f", "pre/g", "pre/h", "pre/i", "pre/j", "pre/k"};
  for (const char* name : {"d", "f", "g", "h", "i", "j", "k"}) {
    ASSERT_NE(Find(data_, name), Fid()) << name;
  }
  EXPECT_EQ(Unlink(data_, "f"), Errc::kOk);
  EXPECT_EQ(Rename(data_, "g", data_, "renamed"), Errc::kOk);
  // Replaced by a file of somebody's own, and that taken away.
  Create(kRootFid, "own");
  EXPECT_EQ(Rename(kRootFid, "own", data_, "h"), Errc::kOk);
  EXPECT_EQ(Unlink(data_, "h"), Errc::kOk);
  // Exchanged, and both taken away under their new names.
  constexpr uint32_t kExchange = 2;
  EXPECT_EQ(Rename(data_, "i", data_, "j", kExchange), Errc::kOk);
  EXPECT_EQ(Unlink(data_, "i"), Errc::kOk);
  EXPECT_EQ(Unlink(data_, "j"), Errc::kOk);
  EXPECT_EQ(RemoveDir(data_, "d"), Errc::kOk);
  EXPECT_EQ(LinkTo(Find(data_, "k"), data_, "link"), Errc::kOk);
  EXPECT_EQ(Unlink(data_, "k"), Errc::kOk);
  Kill();
  Start();
  RegisterOsts();
  Reconnect();
  AgentBeats();
  EXPECT_TRUE(IsUnlisted());
  for (const char* name : {"d", "f", "g", "h", "i", "j", "k"}) ExpectAbsent(data_, name, 0);
  // Nor by the import that is under way.
  EXPECT_EQ(Take({"f", "g", "h", "i", "j", "k", "new"}).skipped(), 6U);
  std::vector<std::string> names = Names(data_);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"link", "new", "renamed"}));
  // By the next one it does, as ever.
  AllNamed();
  EXPECT_EQ(Take({"f"}).created(), 1U);
}

TEST_F(UnlistedTest, OnceAllIsNamedS3IsNotAskedAnyMore) {
  ExpectAbsent(data_, "f", 1);
  AllNamed();
  EXPECT_FALSE(IsUnlisted());
  bucket_.keys = {"pre/f"};
  ExpectAbsent(data_, "f", 0);
  PowerCutAndStart();
  Reconnect();
  EXPECT_FALSE(IsUnlisted());
  ExpectAbsent(data_, "f", 0);
}

TEST_F(UnlistedTest, ALinkThatGoesIsNotAskedFor) {
  Remove();
  ExpectAbsent(data_, "f", 0);
  Add(false);
  EXPECT_FALSE(IsUnlisted());
  ExpectAbsent(data_, "f", 0);
}

TEST_F(UnlistedTest, DirectoriesOfPeopleAreTheirOwn) {
  bucket_.keys = {"pre/a/f"};
  const Fid mine = MakeDir(data_, "mine");
  ExpectAbsent(mine, "f", 0);
  ExpectAbsent(kRootFid, "f", 0);
  const Fid a = Find(data_, "a");
  EXPECT_EQ(Rename(data_, "a", data_, "b"), Errc::kOk);
  ExpectAbsent(a, "f", 0);
}

TEST_F(UnlistedTest, WithoutS3ItIsAnErrorWithTheReason) {
  bucket_.error = "AccessDenied";
  const auto refused = Lookup(data_, "f");
  EXPECT_EQ(refused.status, Errc::kIo);
  EXPECT_NE(refused.message.find("AccessDenied"), std::string::npos) << refused.message;
  bucket_.error.clear();
  ExpectAbsent(data_, "f", 1);
}

TEST_F(UnlistedTest, AnOlderAgentLooksForNoNames) {
  bucket_.keys = {"pre/a/f"};
  bucket_.older = true;
  ExpectAbsent(data_, "a", 1);
}

TEST_F(UnlistedTest, AFewQuestionsAreUnderWayAtATimeAndOneForEachName) {
  constexpr int kNames = 200;
  std::vector<Errc> looks;
  for (int i = 0; i < 2 * kNames; ++i) Begin(data_, "f" + std::to_string(i % kNames), &looks);
  EXPECT_TRUE(async::RunUntil(
      &shard_, [&] { return looks.size() == 2 * kNames; }, std::chrono::hours(1)));
  EXPECT_EQ(std::ranges::count(looks, Errc::kNoEntry), 2 * kNames);
  EXPECT_EQ(bucket_.calls, kNames);
  EXPECT_EQ(bucket_.most_at_a_time, static_cast<int>(Questions::kCallsPerLinkMax));
}

TEST_F(UnlistedTest, WhileS3IsSilentAListingDoesNotWaitForItsTurn) {
  constexpr size_t kLooks = Questions::kCallsPerLinkMax + 8;
  Take({"p"});
  bucket_.takes = std::chrono::hours(1);
  std::vector<Errc> looks;
  for (size_t i = 0; i < kLooks; ++i) Begin(data_, "f" + std::to_string(i), &looks);
  RunFor(std::chrono::seconds(1));
  AgentBeats();
  EXPECT_EQ(bucket_.calls, static_cast<int>(Questions::kCallsPerLinkMax));
  const Nanos began = clock_.Monotonic();
  v1::ReadDirRequest list;
  SetFid(data_, list.mutable_fid());
  list.set_plus(true);
  const auto page = Call<v1::ReadDirReply>(Op::kMdsReadDir, list);
  ASSERT_EQ(page.reply.entries_size(), 1) << page.message;
  EXPECT_FALSE(page.reply.entries(0).has_attr());
  EXPECT_LT(clock_.Monotonic() - began, Questions::kListingPatience + std::chrono::seconds(1));
  EXPECT_TRUE(async::RunUntil(
      &shard_, [&] { return looks.size() == kLooks; }, std::chrono::minutes(2)));
  EXPECT_EQ(std::ranges::count(looks, Errc::kIo), static_cast<int>(kLooks));
  // Nothing is kept of it.
  bucket_.takes = std::chrono::milliseconds(30);
  AgentBeats();
  ExpectAbsent(data_, "f0", 1);
}

TEST_F(UnlistedTest, ALateAnswerMakesNothingThatIsNotToBe) {
  bucket_.keys = {"pre/a/f", "pre/f", "pre/g"};
  const Fid a = Find(data_, "a");
  bucket_.takes = std::chrono::seconds(2);
  std::vector<Errc> looks;
  Begin(data_, "f", &looks);
  Begin(a, "f", &looks);
  RunFor(std::chrono::seconds(1));
  // Somebody's own by then; and a directory that stands for nothing in S3.
  const Fid own = Create(data_, "f");
  EXPECT_EQ(Rename(data_, "a", data_, "b"), Errc::kOk);
  EXPECT_TRUE(async::RunUntil(
      &shard_, [&] { return looks.size() == 2; }, std::chrono::minutes(1)));
  EXPECT_EQ(std::ranges::count(looks, Errc::kOk), 1);
  EXPECT_EQ(Find(data_, "f"), own);
  EXPECT_EQ(Attr(own).uid(), 0U);
  EXPECT_EQ(Names(a), std::vector<std::string>());
  // The import has come to its end.
  AgentBeats();
  Begin(data_, "g", &looks);
  RunFor(std::chrono::seconds(1));
  AllNamed();
  EXPECT_TRUE(async::RunUntil(
      &shard_, [&] { return looks.size() == 3; }, std::chrono::minutes(1)));
  EXPECT_EQ(looks.back(), Errc::kNoEntry);
  EXPECT_EQ(Find(data_, "g"), Fid());
}

TEST_F(UnlistedTest, WhatS3HasNoMoreComesBackWithItsObject) {
  Take({"f"});
  ExpectAbsent(data_, "f", 2);  // whose it is, and whether there is one
  EXPECT_EQ(Take({"f"}).created(), 1U);
}

TEST_F(UnlistedTest, WithADirectoryThatIsTakenAwayAllBelowStaysAway) {
  bucket_.keys = {"pre/a/f", "pre/a/g/h", "pre/d/f"};
  EXPECT_NE(Find(Find(data_, "a"), "f"), Fid());
  EXPECT_EQ(Rename(data_, "a", data_, "b"), Errc::kOk);
  EXPECT_NE(Find(data_, "d"), Fid());
  EXPECT_EQ(RemoveDir(data_, "d"), Errc::kOk);
  EXPECT_EQ(Take({"a/f", "a/g/h", "d/f", "n"}).skipped(), 3U);
  std::vector<std::string> names = Names(data_);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "n"}));
  AllNamed();
  EXPECT_EQ(Take({"a/f", "a/g/h", "d/f"}).created(), 3U);
}

TEST_F(UnlistedTest, AndStaysOutOfADirectoryThatSomebodyMakesInItsPlace) {
  bucket_.keys = {"pre/d/f", "pre/k/f"};
  EXPECT_NE(Find(data_, "d"), Fid());
  EXPECT_EQ(RemoveDir(data_, "d"), Errc::kOk);
  const Fid mine = MakeDir(data_, "d");
  // Away and back again it is the import's.
  EXPECT_NE(Find(data_, "k"), Fid());
  EXPECT_EQ(Rename(data_, "k", data_, "l"), Errc::kOk);
  EXPECT_EQ(Rename(data_, "l", data_, "k"), Errc::kOk);
  EXPECT_EQ(Take({"d/f"}).skipped(), 1U);
  EXPECT_TRUE(Names(mine).empty());
  EXPECT_EQ(Take({"k/f"}).created(), 1U);
}

// The listing says its time more exactly than the HEAD did: that is no change in S3.
TEST_F(UnlistedTest, WhatALookupHasMadeTheListingLeavesAlone) {
  bucket_.keys = {"pre/f", "pre/d/"};
  EXPECT_NE(Find(data_, "f"), Fid());
  EXPECT_NE(Find(data_, "d"), Fid());
  const v1::ImportEntriesReply taken = Take({"f", "d/"});
  EXPECT_EQ(taken.updated(), 0U);
  EXPECT_EQ(taken.unchanged(), 2U);
  EXPECT_EQ(taken.wanted_size(), 0);
}

TEST_F(UnlistedTest, WhatIsBeingRemovedIsNotMadeAgain) {
  bucket_.keys = {"pre/f"};
  EXPECT_NE(Find(data_, "f"), Fid());
  v1::ImportEntriesRequest request;
  request.set_repository(link_);
  request.set_drop(true);
  FakeBucket::FillEntry("pre/f", request.add_entries());
  request.mutable_entries(0)->set_path("f");
  EXPECT_EQ(Import(request).dropped(), 1U);
  ExpectAbsent(data_, "f", 0);
}

}  // namespace
}  // namespace sheen::mds
