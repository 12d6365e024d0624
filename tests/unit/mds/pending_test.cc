// Names that a listing has made: nobody sees what was not asked of S3, whatever fails meanwhile.
#include "mds/pending.h"

#include <dirent.h>
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

v1::ImportEntry Listed(const std::string& path, const std::string& etag = "\"e1\"") {
  v1::ImportEntry entry;
  entry.set_path(path);
  entry.set_key("pre/" + path);
  entry.set_size(1000);
  entry.set_etag(etag);
  entry.set_modified_ns(77);
  entry.set_mtime_ns(77);
  entry.set_mode(S_IFREG | 0755);
  return entry;
}

v1::ImportEntry ListedDirectory(const std::string& path) {
  v1::ImportEntry entry = Listed(path);
  entry.set_key("pre/" + path + "/");
  entry.set_size(0);
  entry.set_mode(S_IFDIR | 0755);
  return entry;
}

// S3 says 0640 of user 7 of every file, 0710 of "marked/", and "links/..." are symbolic links.
class FakeAgents final : public rpc::AgentCalls {
 public:
  async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AgentEntry agent,
                                                      v1::AskObjectsRequest request,
                                                      std::function<bool()> wanted) override {
    ++calls;
    for (const std::string& key : request.keys()) asked.push_back(key);
    const Nanos until = async::Shard::Current()->Now() + takes;
    while (async::Shard::Current()->Now() < until) {
      if (!wanted()) co_return Fail(Errc::kUnavailable, "the call was ended");
      co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(10));
    }
    if (down.contains(agent.name())) co_return Fail(Errc::kUnavailable, "no such agent now");
    v1::AskObjectsReply reply;
    for (const std::string& key : request.keys()) *reply.add_answers() = AnswerOf(key);
    co_return reply;
  }
  v1::ObjectAnswer AnswerOf(const std::string& key) const {
    v1::ObjectAnswer answer;
    const bool unmarked = key.ends_with('/') && key != "pre/marked/";
    if (unmarked || gone.contains(key)) {
      answer.set_gone(true);
      return answer;
    }
    if (refused.contains(key)) {
      answer.set_error("AccessDenied");
      return answer;
    }
    v1::ImportEntry* const entry = answer.mutable_entry();
    const bool link = key.starts_with("pre/links/");
    entry->set_key(key);
    entry->set_size(1000);
    entry->set_etag("\"e1\"");
    entry->set_modified_ns(70);  // whole seconds, as it were
    const uint32_t file = link ? S_IFLNK | 0777U : S_IFREG | 0640U;
    entry->set_mode(key.ends_with('/') ? S_IFDIR | 0710U : file);
    entry->set_uid(7);
    entry->set_given(v1::GIVEN_MODE | v1::GIVEN_UID);
    if (link) entry->set_target("elsewhere");
    return answer;
  }

  int calls = 0;
  std::vector<std::string> asked;
  std::set<std::string> down;
  std::set<std::string> gone;
  std::set<std::string> refused;
  Nanos takes = std::chrono::milliseconds(30);
};

class PendingTest : public MdsFixture {
 protected:
  void SetUp() override {
    agents_ = &fake_;
    MdsFixture::SetUp();
    v1::AddRepositoryRequest request;
    request.mutable_repository()->set_path("/data");
    request.mutable_repository()->set_bucket("bucket");
    request.mutable_repository()->set_prefix("pre");
    const auto added = Run(service_->repositories()->AddRepository(request));
    ASSERT_TRUE(added) << added.error().ToString();
    link_ = added->repository().id();
    data_ = Find(kRootFid, "data");
    AgentBeats("one");
  }
  void AgentBeats(const std::string& name) {
    v1::AgentHeartbeatRequest beat;
    beat.set_fsname("sheen");
    beat.mutable_agent()->set_name(name);
    EXPECT_TRUE(Run(service_->repositories()->AgentHeartbeat(beat)));
  }
  v1::ImportEntriesReply Take(const std::vector<v1::ImportEntry>& entries, bool pending = true) {
    v1::ImportEntriesRequest request;
    request.set_repository(link_);
    request.set_pending(pending);
    for (const v1::ImportEntry& entry : entries) *request.add_entries() = entry;
    const auto done = Run(service_->repositories()->ImportEntries(request));
    EXPECT_TRUE(done) << done.error().ToString();
    return done ? *done : v1::ImportEntriesReply();
  }
  uint64_t CountPending() {
    const auto all = Run(service_->repositories()->ListRepositories({}));
    return all && all->pending_size() == 1 ? all->pending(0).names() : 0;
  }
  v1::ListPendingReply Pending(const std::string& after = "", uint32_t names_max = 0) {
    v1::ListPendingRequest request;
    request.set_repository(link_);
    request.set_after(after);
    request.set_names_max(names_max);
    const auto page = Run(service_->repositories()->ListPending(request));
    EXPECT_TRUE(page) << page.error().ToString();
    return page ? *page : v1::ListPendingReply();
  }
  // The second step of an import.
  v1::FinishPendingReply FinishAll() {
    v1::FinishPendingRequest request;
    request.set_repository(link_);
    for (const v1::PendingName& name : Pending().names()) {
      v1::PendingAnswer* const answer = request.add_answers();
      *answer->mutable_fid() = name.fid();
      answer->set_key(name.key());
      *answer->mutable_answer() = fake_.AnswerOf(name.key());
    }
    const auto done = Run(service_->repositories()->FinishPending(request));
    EXPECT_TRUE(done) << done.error().ToString();
    return done ? *done : v1::FinishPendingReply();
  }
  v1::ReadDirReply List(const Fid& fid, bool plus) {
    v1::ReadDirRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_plus(plus);
    request.set_bytes_max(1 << 20);
    const auto page = Call<v1::ReadDirReply>(Op::kMdsReadDir, request);
    EXPECT_TRUE(page.ok()) << page.message;
    return page.reply;
  }
  void ExpectAsS3Says(const v1::Attr& attr) {
    EXPECT_EQ(attr.mode(), S_IFREG | 0640U);
    EXPECT_EQ(attr.uid(), 7U);
    EXPECT_EQ(attr.size(), 1000U);
    EXPECT_EQ(attr.mtime_ns(), 77);
  }

  FakeAgents fake_;
  uint32_t link_ = 0;
  Fid data_;
};

TEST_F(PendingTest, ALookupShowsWhatS3SaysAndAsksOnce) {
  EXPECT_EQ(Take({Listed("f"), Listed("g")}).created(), 2U);
  EXPECT_EQ(CountPending(), 2U);
  EXPECT_EQ(fake_.calls, 0);
  const auto found = Lookup(data_, "f");
  ASSERT_TRUE(found.ok()) << found.message;
  ExpectAsS3Says(found.reply.attr());
  EXPECT_EQ(fake_.asked, std::vector<std::string>{"pre/f"});
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
  EXPECT_EQ(fake_.calls, 1);
  EXPECT_EQ(CountPending(), 1U);
  // A later import finds it as it was listed.
  EXPECT_EQ(Take({Listed("f"), Listed("g")}).unchanged(), 2U);
}

TEST_F(PendingTest, WhoKnowsTheFidAloneIsShownNothingElse) {
  Take({Listed("f"), Listed("g")});
  std::vector<Fid> fids;
  for (const v1::Entry& entry : List(data_, false).entries()) fids.push_back(FidOf(entry.fid()));
  ASSERT_EQ(fids.size(), 2U);
  EXPECT_EQ(fake_.calls, 0);
  ExpectAsS3Says(Attr(fids[0]));
  // Of root alone: 0640, and not his.
  EXPECT_EQ(Open(fids[1], 1, O_RDONLY, {.credential = kOtherCredential}).status, Errc::kAccess);
  EXPECT_EQ(fake_.calls, 2);
}

TEST_F(PendingTest, AListingHasNoTypeUntilItIsKnownWhetherItIsASymbolicLink) {
  Take({Listed("links/a"), Listed("f"), ListedDirectory("marked")});
  const auto types = [this](const Fid& fid) {
    std::map<std::string, uint32_t> out;
    for (const v1::Entry& entry : List(fid, false).entries()) out[entry.name()] = entry.type();
    return out;
  };
  EXPECT_EQ(types(data_), (std::map<std::string, uint32_t>{
                              {"f", DT_UNKNOWN}, {"links", DT_DIR}, {"marked", DT_DIR}}));
  const Fid links = Find(data_, "links");
  EXPECT_EQ(types(links)["a"], uint32_t{DT_UNKNOWN});
  const auto found = Lookup(links, "a");
  ASSERT_TRUE(found.ok()) << found.message;
  EXPECT_EQ(found.reply.attr().mode(), S_IFLNK | 0777U);
  EXPECT_EQ(found.reply.attr().size(), std::string("elsewhere").size());
  v1::ReadLinkRequest read;
  *read.mutable_fid() = found.reply.attr().fid();
  EXPECT_EQ(Call<v1::ReadLinkReply>(Op::kMdsReadLink, read).reply.target(), "elsewhere");
  EXPECT_EQ(types(links)["a"], uint32_t{DT_LNK});
  EXPECT_EQ(Lookup(data_, "marked").reply.attr().mode(), S_IFDIR | 0710U);
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
  EXPECT_EQ(types(data_)["f"], uint32_t{DT_REG});
}

TEST_F(PendingTest, APageOfAListingIsAskedForTogether) {
  constexpr int kNames = 1000;
  std::vector<v1::ImportEntry> entries;
  for (int i = 0; i < kNames; ++i) entries.push_back(Listed("f" + std::to_string(i)));
  Take(entries);
  const v1::ReadDirReply page = List(data_, true);
  ASSERT_EQ(page.entries_size(), kNames);
  for (const v1::Entry& entry : page.entries()) {
    ASSERT_TRUE(entry.has_attr()) << entry.name();
    ExpectAsS3Says(entry.attr());
  }
  EXPECT_EQ(fake_.calls, 4);
  EXPECT_EQ(CountPending(), 0U);
}

TEST_F(PendingTest, AListingGoesWithoutWhatS3DoesNotSay) {
  Take({Listed("f"), Listed("no")});
  fake_.refused = {"pre/no"};
  const v1::ReadDirReply page = List(data_, true);
  ASSERT_EQ(page.entries_size(), 2);
  for (const v1::Entry& entry : page.entries()) {
    EXPECT_EQ(entry.has_attr(), entry.name() == "f") << entry.name();
  }
  const auto refused = Lookup(data_, "no");
  EXPECT_EQ(refused.status, Errc::kIo);
  EXPECT_NE(refused.message.find("AccessDenied"), std::string::npos) << refused.message;
  fake_.refused.clear();
  ExpectAsS3Says(Lookup(data_, "no").reply.attr());
}

TEST_F(PendingTest, WithoutAnswerItIsAnErrorWithTheReasonInTime) {
  Take({Listed("f")});
  RunFor(Repositories::kAgentTimeout + std::chrono::seconds(1));
  const Nanos began = clock_.Monotonic();
  const auto found = Lookup(data_, "f");
  EXPECT_EQ(found.status, Errc::kIo);
  EXPECT_NE(found.message.find("no agent is up"), std::string::npos) << found.message;
  EXPECT_GE(clock_.Monotonic() - began, Questions::kPatience);
  EXPECT_LT(clock_.Monotonic() - began, Questions::kPatience + std::chrono::seconds(10));
  // A listing has less patience, and no error.
  const Nanos listing = clock_.Monotonic();
  const v1::ReadDirReply page = List(data_, true);
  ASSERT_EQ(page.entries_size(), 1);
  EXPECT_FALSE(page.entries(0).has_attr());
  EXPECT_LT(clock_.Monotonic() - listing, std::chrono::seconds(10));
  AgentBeats("one");
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
}

TEST_F(PendingTest, AnAgentThatFailsIsReplacedByAnother) {
  Take({Listed("f"), Listed("g")});
  AgentBeats("two");
  fake_.down = {"one"};
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
  ExpectAsS3Says(Lookup(data_, "g").reply.attr());
}

TEST_F(PendingTest, AnObjectThatIsGoneIsNoName) {
  Take({Listed("f"), Listed("way/g"), ListedDirectory("marked"), Listed("marked/h")});
  fake_.gone = {"pre/f", "pre/marked/"};
  EXPECT_EQ(Lookup(data_, "f").status, Errc::kNoEntry);
  std::vector<std::string> names = Names(data_);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"marked", "way"}));
  // Directories with something in them need no object.
  EXPECT_EQ(Lookup(data_, "way").reply.attr().mode(), S_IFDIR | 0755U);
  EXPECT_EQ(Lookup(data_, "marked").reply.attr().mode(), S_IFDIR | 0755U);
  const int calls = fake_.calls;
  EXPECT_NE(Find(data_, "way"), Fid());
  EXPECT_EQ(fake_.calls, calls);
  EXPECT_EQ(CountPending(), 2U);
}

TEST_F(PendingTest, TheSecondStepFindsAllThatIsPendingAlsoAfterPowerLoss) {
  std::vector<v1::ImportEntry> entries;
  for (int i = 0; i < 10; ++i) entries.push_back(Listed("d/f" + std::to_string(i)));
  Take(entries);
  PowerCutAndStart();
  Reconnect();
  EXPECT_EQ(CountPending(), 11U);
  std::set<std::string> keys;
  std::string after;
  for (bool end = false; !end;) {
    const v1::ListPendingReply page = Pending(after, 4);
    EXPECT_LE(page.names_size(), 4);
    for (const v1::PendingName& name : page.names()) EXPECT_TRUE(keys.insert(name.key()).second);
    after = page.next();
    end = page.end();
  }
  EXPECT_EQ(keys.size(), 11U);
  EXPECT_EQ(FinishAll().finished(), 11U);
  EXPECT_EQ(CountPending(), 0U);
  EXPECT_EQ(Pending().names_size(), 0);
  fake_.calls = 0;
  ExpectAsS3Says(Lookup(Find(data_, "d"), "f3").reply.attr());
  EXPECT_EQ(fake_.calls, 0);
  // An answer that comes late changes nothing: here it is another's by now.
  ASSERT_TRUE(Chown(Find(Find(data_, "d"), "f3"), 9, 9).ok());
  EXPECT_EQ(FinishAll().finished(), 0U);
}

TEST_F(PendingTest, AfterARestartNobodyIsWaitedFor) {
  Take({Listed("f"), Listed("g")});
  Connect();
  Kill();
  Start();
  RegisterOsts();
  AgentBeats("one");
  fake_.gone = {"pre/g"};
  const Nanos began = clock_.Monotonic();
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
  EXPECT_EQ(Lookup(data_, "g").status, Errc::kNoEntry);
  EXPECT_LT(clock_.Monotonic() - began, std::chrono::seconds(2));
  Reconnect();
  RunFor(std::chrono::seconds(21));
  AgentBeats("one");
  EXPECT_EQ(Lookup(data_, "g").status, Errc::kNoEntry);
  EXPECT_EQ(Names(data_), std::vector<std::string>{"f"});
}

TEST_F(PendingTest, WhatPeopleMayHaveSeenIsAskedForBeforeItChanges) {
  Take({Listed("f"), Listed("p")});
  Find(data_, "f");
  const auto again = Take({Listed("f", "\"e2\""), Listed("p", "\"e2\""), Listed("n")});
  EXPECT_EQ(again.created(), 1U);
  EXPECT_EQ(again.updated(), 1U);  // nobody has looked at p
  ASSERT_EQ(again.wanted_size(), 1);
  EXPECT_EQ(again.wanted(0), 0U);
  EXPECT_EQ(CountPending(), 2U);
  ExpectAsS3Says(Lookup(data_, "f").reply.attr());
}

TEST_F(PendingTest, WithoutQuestionsTheListingIsTheTruth) {
  Take({Listed("f")});
  EXPECT_EQ(Take({Listed("f"), Listed("g")}, false).updated(), 1U);
  EXPECT_EQ(CountPending(), 0U);
  EXPECT_EQ(Lookup(data_, "f").reply.attr().mode(), S_IFREG | 0755U);
  EXPECT_EQ(fake_.calls, 0);
}

TEST_F(PendingTest, WhatIsNotLinkedAnyMoreIsForRootAlone) {
  Take({Listed("f"), Listed("d/g")});
  v1::RemoveRepositoryRequest request;
  request.set_path("/data");
  request.set_keep_data(true);
  ASSERT_TRUE(Run(service_->repositories()->RemoveRepository(request)));
  EXPECT_EQ(Lookup(data_, "f").reply.attr().mode(), S_IFREG | 0600U);
  EXPECT_EQ(Lookup(data_, "f").reply.attr().size(), 1000U);
  EXPECT_EQ(Lookup(data_, "d").reply.attr().mode(), S_IFDIR | 0700U);
  EXPECT_EQ(fake_.calls, 0);
}

TEST_F(PendingTest, PendingNamesGoWithTheirRepository) {
  Take({Listed("f"), Listed("d/g")});
  v1::ImportEntriesRequest listed;
  listed.set_repository(link_);
  listed.set_drop(true);
  for (const char* path : {"f", "d/g"}) *listed.add_entries() = Listed(path);
  const auto dropped = Run(service_->repositories()->ImportEntries(listed));
  ASSERT_TRUE(dropped) << dropped.error().ToString();
  EXPECT_EQ(dropped->dropped(), 2U);
  v1::RemoveRepositoryRequest request;
  request.set_path("/data");
  ASSERT_TRUE(Run(service_->repositories()->RemoveRepository(request)));
  EXPECT_EQ(Names(data_), std::vector<std::string>{});
}

TEST_F(PendingTest, WhoWaitsForS3EndsWithTheServer) {
  Take({Listed("f")});
  fake_.takes = std::chrono::hours(1);
  shard_.AddTimer(shard_.Now() + std::chrono::seconds(1), [this] { service_->BeginStop(); });
  const Nanos began = clock_.Monotonic();
  EXPECT_EQ(Lookup(data_, "f").status, Errc::kUnavailable);
  EXPECT_LT(clock_.Monotonic() - began, std::chrono::seconds(5));
}

}  // namespace
}  // namespace sheen::mds
