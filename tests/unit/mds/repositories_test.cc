// Data repositories on the MDS's side: links, imports and what they leave alone, removal.
#include "mds/repositories.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "unit/mds/mds_fixture.h"

namespace sheen::mds {
namespace {

v1::ImportEntry FileEntry(const std::string& path, const std::string& etag = "\"e1\"") {
  v1::ImportEntry entry;
  entry.set_path(path);
  entry.set_key("pre/" + path);
  entry.set_size(1000);
  entry.set_etag(etag);
  entry.set_modified_ns(77);
  entry.set_mtime_ns(55);
  entry.set_mode(S_IFREG | 0640);
  entry.set_uid(7);
  entry.set_gid(8);
  entry.set_given(v1::GIVEN_MODE | v1::GIVEN_UID | v1::GIVEN_GID);
  return entry;
}

v1::ImportEntry DirectoryEntry(const std::string& path, uint32_t mode) {
  v1::ImportEntry entry = FileEntry(path);
  entry.set_key("pre/" + path + "/");
  entry.set_size(0);
  entry.set_mode(S_IFDIR | mode);
  return entry;
}

class RepositoriesTest : public MdsFixture {
 protected:
  void SetUp() override {
    MdsFixture::SetUp();
    Link();
  }
  Result<v1::AddRepositoryReply> TryLink(const std::string& path, const std::string& prefix) {
    v1::AddRepositoryRequest request;
    request.mutable_repository()->set_path(path);
    request.mutable_repository()->set_bucket("bucket");
    request.mutable_repository()->set_prefix(prefix);
    return Run(service_->repositories()->AddRepository(request));
  }
  void Link() {
    const auto added = TryLink("/data", "pre");
    ASSERT_TRUE(added) << added.error().ToString();
    link_ = added->repository().id();
  }
  Result<v1::ImportEntriesReply> TryImport(const std::vector<v1::ImportEntry>& entries) {
    v1::ImportEntriesRequest request;
    request.set_repository(link_);
    for (const v1::ImportEntry& entry : entries) *request.add_entries() = entry;
    return Run(service_->repositories()->ImportEntries(request));
  }
  v1::ImportEntriesReply Import(const std::vector<v1::ImportEntry>& entries) {
    const auto done = TryImport(entries);
    EXPECT_TRUE(done) << done.error().ToString();
    return done ? *done : v1::ImportEntriesReply();
  }
  v1::RemoveRepositoryReply Remove(bool keep_data) {
    v1::RemoveRepositoryRequest request;
    request.set_path("/data");
    request.set_keep_data(keep_data);
    const auto done = Run(service_->repositories()->RemoveRepository(request));
    EXPECT_TRUE(done) << done.error().ToString();
    return done ? *done : v1::RemoveRepositoryReply();
  }
  Fid At(const std::string& path) {
    Fid at = Find(kRootFid, "data");
    for (size_t begin = 0; begin < path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      at = Find(at, path.substr(begin, end - begin));
      begin = end + 1;
    }
    return at;
  }
  void OpenToWrite(const Fid& fid) {
    const uint64_t handle = next_handle_++;
    ASSERT_TRUE(Open(fid, handle, O_RDWR).ok());
    ASSERT_TRUE(Close(fid, handle).ok());
  }

  uint32_t link_ = 0;
};

TEST_F(RepositoriesTest, LinksMayNotOverlap) {
  EXPECT_EQ(TryLink("/data/x", "other").error().code(), Errc::kExists);
  EXPECT_EQ(TryLink("/other", "pre/x").error().code(), Errc::kExists);
  EXPECT_EQ(TryLink("/", "other").error().code(), Errc::kExists);
  EXPECT_EQ(TryLink("no/path", "other").error().code(), Errc::kInvalid);
  EXPECT_EQ(Find(kRootFid, "other"), Fid());
  EXPECT_TRUE(TryLink("/database", "prefix"));
}

TEST_F(RepositoriesTest, SixtyFourLinksAreEachTheirOwn) {
  constexpr size_t kLinks = 64;
  std::set<uint32_t> ids = {link_};
  for (size_t i = 1; i < kLinks; ++i) {
    const std::string number = std::to_string(i);
    const auto added = TryLink("/links/l" + number, "p" + number);
    ASSERT_TRUE(added) << added.error().ToString();
    link_ = added->repository().id();
    ids.insert(link_);
    v1::ImportEntry entry = FileEntry("f", "\"" + number + "\"");
    entry.set_key("p" + number + "/f");
    entry.set_size(i);
    EXPECT_EQ(Import({entry}).created(), 1U);
  }
  EXPECT_EQ(ids.size(), kLinks);
  EXPECT_EQ(TryLink("/links/l63/x", "other").error().code(), Errc::kExists);
  EXPECT_EQ(TryLink("/more", "p63/x").error().code(), Errc::kExists);
  EXPECT_EQ(TryLink("/links", "other").error().code(), Errc::kExists);
  PowerCutAndStart();
  Reconnect();
  const Fid links = Find(kRootFid, "links");
  for (size_t i = 1; i < kLinks; ++i) {
    EXPECT_EQ(Attr(Find(Find(links, "l" + std::to_string(i)), "f")).size(), i);
  }
  v1::AgentHeartbeatRequest beat;
  beat.set_fsname("sheen");
  beat.mutable_agent()->set_name("one");
  const auto told = Run(service_->repositories()->AgentHeartbeat(beat));
  ASSERT_TRUE(told) << told.error().ToString();
  for (const v1::Repository& one : told->repositories()) EXPECT_EQ(ids.erase(one.id()), 1U);
  EXPECT_TRUE(ids.empty());
}

TEST_F(RepositoriesTest, AnImportMakesWhatIsMissingAndTouchesOnlyWhatChanged) {
  EXPECT_EQ(Import({FileEntry("a/b"), FileEntry("c")}).created(), 2U);
  const v1::Attr attr = Attr(At("a/b"));
  EXPECT_EQ(attr.mode(), S_IFREG | 0640U);
  EXPECT_EQ(attr.size(), 1000U);
  EXPECT_EQ(attr.uid(), 7U);
  EXPECT_EQ(attr.mtime_ns(), 55);
  EXPECT_EQ(Import({FileEntry("a/b"), FileEntry("c")}).unchanged(), 2U);
  EXPECT_EQ(Attr(At("a/b")).ctime_ns(), attr.ctime_ns());
  const auto changed = Import({FileEntry("a/b", "\"e2\""), FileEntry("c")});
  EXPECT_EQ(changed.updated(), 1U);
  EXPECT_EQ(changed.unchanged(), 1U);
}

TEST_F(RepositoriesTest, WhatWasChangedHereStays) {
  Import({FileEntry("f")});
  OpenToWrite(At("f"));
  EXPECT_EQ(Import({FileEntry("f")}).unchanged(), 1U);
  const auto again = Import({FileEntry("f", "\"e2\"")});
  ASSERT_EQ(again.failures_size(), 1);
  EXPECT_NE(again.failures(0).reason().find("changed here"), std::string::npos);
  Create(At(""), "own");
  EXPECT_EQ(Import({FileEntry("own")}).failures_size(), 1);
}

TEST_F(RepositoriesTest, ADirectoryHasItsObjectsAttributesInWhateverOrderTheyCome) {
  Import({FileEntry("early/f"), DirectoryEntry("early", 0701)});
  Import({DirectoryEntry("late", 0701), FileEntry("late/f")});
  RunFor(std::chrono::seconds(1));
  Import({FileEntry("early/g"), FileEntry("late/g")});
  for (const char* name : {"early", "late"}) {
    const v1::Attr attr = Attr(At(name));
    EXPECT_EQ(attr.mode(), S_IFDIR | 0701U) << name;
    EXPECT_EQ(attr.uid(), 7U) << name;
    EXPECT_EQ(attr.mtime_ns(), 55) << name;
  }
  EXPECT_EQ(Import({DirectoryEntry("early", 0701)}).unchanged(), 1U);
  ASSERT_TRUE(Chmod(At("early"), 0750).ok());
  EXPECT_EQ(Import({DirectoryEntry("early", 0701)}).unchanged(), 1U);
  EXPECT_EQ(Attr(At("early")).mode(), S_IFDIR | 0750U);
}

TEST_F(RepositoriesTest, DirectoriesThatPeopleMadeKeepTheirAttributes) {
  MakeDir(At(""), "mine", 0755);
  EXPECT_EQ(Import({DirectoryEntry("mine", 0701), FileEntry("mine/f")}).unchanged(), 1U);
  EXPECT_EQ(Attr(At("mine")).mode(), S_IFDIR | 0755U);
  EXPECT_NE(At("mine/f"), Fid());
}

TEST_F(RepositoriesTest, WhatAnImportHasCountedSurvivesPowerLoss) {
  ASSERT_EQ(Import({FileEntry("a/b"), FileEntry("c")}).created(), 2U);
  PowerCutAndStart();
  Reconnect();
  EXPECT_NE(At("a/b"), Fid());
  EXPECT_NE(At("c"), Fid());
}

TEST_F(RepositoriesTest, AfterARestartAnImportWaitsForTheClients) {
  Import({FileEntry("f")});
  Kill();
  Start();
  RegisterOsts();
  const Nanos began = clock_.Monotonic();
  EXPECT_EQ(Import({FileEntry("g")}).created(), 1U);
  // Nobody came back: the whole wait.
  EXPECT_GE(clock_.Monotonic() - began, std::chrono::seconds(19));
  Reconnect();
}

TEST_F(RepositoriesTest, WithItsRepositoryGoesWhatS3Has) {
  Import({FileEntry("clean"), FileEntry("changed"), FileEntry("d/clean"), FileEntry("linked"),
          DirectoryEntry("empty", 0755)});
  OpenToWrite(At("changed"));
  ASSERT_EQ(LinkTo(At("linked"), kRootFid, "other"), Errc::kOk);
  Create(At(""), "own");
  MakeDir(At(""), "mine");
  Import({FileEntry("gone"), FileEntry("newer"), FileEntry("moved")});
  ASSERT_EQ(Rename(At(""), "moved", At(""), "away"), Errc::kOk);
  // What S3 has, as a listing says: "gone" is not in it, "newer" is another one.
  v1::ImportEntriesRequest listed;
  listed.set_repository(link_);
  listed.set_drop(true);
  for (const char* path : {"clean", "changed", "d/clean", "linked", "moved", "nowhere/x"}) {
    *listed.add_entries() = FileEntry(path);
  }
  *listed.add_entries() = FileEntry("newer", "\"e2\"");
  const auto dropped = Run(service_->repositories()->ImportEntries(listed));
  ASSERT_TRUE(dropped) << dropped.error().ToString();
  EXPECT_EQ(dropped->dropped(), 2U);
  EXPECT_EQ(Remove(false).kept(), 6U);
  std::vector<std::string> names = Names(At(""));
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"away", "changed", "gone", "linked", "mine", "newer",
                                             "own"}));
  EXPECT_FALSE(TryImport({FileEntry("x")}));
}

TEST_F(RepositoriesTest, AProbeSaysWhatIsNewOrChangedAndMakesNothing) {
  Import({FileEntry("same"), FileEntry("d/same"), FileEntry("changed"), FileEntry("written")});
  OpenToWrite(At("written"));
  v1::ImportEntriesRequest request;
  request.set_repository(link_);
  request.set_probe(true);
  for (const char* path : {"same", "d/same", "written", "n/e/w"}) {
    *request.add_entries() = FileEntry(path);
  }
  *request.add_entries() = FileEntry("changed", "\"e2\"");
  const auto wanted = [&] {
    const auto reply = Run(service_->repositories()->ImportEntries(request));
    EXPECT_TRUE(reply) << reply.error().ToString();
    return std::vector<uint32_t>(reply->wanted().begin(), reply->wanted().end());
  };
  EXPECT_EQ(wanted(), (std::vector<uint32_t>{3, 4}));
  request.set_skip_new(true);
  EXPECT_EQ(wanted(), (std::vector<uint32_t>{4}));
  request.set_skip_changed(true);
  EXPECT_EQ(wanted(), std::vector<uint32_t>{});
  std::vector<std::string> names = Names(At(""));
  EXPECT_EQ(std::ranges::find(names, "n"), names.end());
}

TEST_F(RepositoriesTest, WhatIsNotAskedForIsLeftAlone) {
  Import({FileEntry("old")});
  v1::ImportEntriesRequest request;
  request.set_repository(link_);
  *request.add_entries() = FileEntry("n/new");
  *request.add_entries() = FileEntry("old", "\"e2\"");
  request.set_skip_new(true);
  request.set_skip_changed(true);
  const auto none = Run(service_->repositories()->ImportEntries(request));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->skipped(), 2U);
  EXPECT_EQ(Names(At("")), std::vector<std::string>{"old"});
  request.set_skip_changed(false);
  EXPECT_EQ(Run(service_->repositories()->ImportEntries(request))->updated(), 1U);
  EXPECT_EQ(Names(At("")), std::vector<std::string>{"old"});
}

TEST_F(RepositoriesTest, OnlyTheNameOfADeletedObjectGoes) {
  Import({FileEntry("f"), FileEntry("kept"), FileEntry("written"), FileEntry("d/g")});
  OpenToWrite(At("written"));
  v1::ListImportedRequest look;
  look.set_repository(link_);
  const auto listed = Run(service_->repositories()->ListImported(look));
  ASSERT_TRUE(listed);
  EXPECT_TRUE(listed->end());
  ASSERT_EQ(listed->entries_size(), 4);
  v1::DropDeletedRequest request;
  request.set_repository(link_);
  SetFid(At(""), request.mutable_directory());
  for (v1::ImportedEntry entry : listed->entries()) {
    EXPECT_EQ(entry.key(), "pre/" + entry.name() + (entry.directory() ? "/" : ""));
    // As if it were another name's object.
    if (entry.name() == "kept") entry.set_key("pre/other");
    *request.add_entries() = entry;
  }
  const auto dropped = Run(service_->repositories()->DropDeleted(request));
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->dropped(), 1U);  // the directory is not empty
  std::vector<std::string> names = Names(At(""));
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"d", "kept", "written"}));
}

TEST_F(RepositoriesTest, SettingsAreChangedDurablyAndTheRestIsNot) {
  const auto all = Run(service_->repositories()->ListRepositories({}));
  v1::UpdateRepositoryRequest request;
  *request.mutable_repository() = all->repositories(0);
  request.mutable_repository()->set_import_what(v1::IMPORT_NEW | v1::IMPORT_DELETED);
  request.mutable_repository()->set_import_every_s(60);
  request.mutable_repository()->set_region("r2");
  request.mutable_repository()->mutable_directory()->set_oid(99);
  ASSERT_TRUE(Run(service_->repositories()->UpdateRepository(request)));
  PowerCutAndStart();
  Reconnect();
  const auto after = Run(service_->repositories()->ListRepositories({}));
  ASSERT_EQ(after->repositories_size(), 1);
  EXPECT_EQ(after->repositories(0).import_what(), 5U);
  EXPECT_EQ(after->repositories(0).import_every_s(), 60U);
  EXPECT_EQ(after->repositories(0).region(), "r2");
  EXPECT_EQ(FidOf(after->repositories(0).directory()), FidOf(all->repositories(0).directory()));
  request.mutable_repository()->set_bucket("another");
  EXPECT_EQ(Run(service_->repositories()->UpdateRepository(request)).error().code(),
            Errc::kNoEntry);
  request.mutable_repository()->set_bucket("bucket");
  request.mutable_repository()->set_import_what(8);
  EXPECT_EQ(Run(service_->repositories()->UpdateRepository(request)).error().code(),
            Errc::kInvalid);
}

TEST_F(RepositoriesTest, FilesThatStayAreTheRepositorysAgainWhenItIsLinkedAgain) {
  Import({FileEntry("f")});
  const Fid file = At("f");
  const uint32_t before = link_;
  EXPECT_EQ(Remove(true).dropped(), 0U);
  ASSERT_TRUE(TryLink("/other", "elsewhere"));
  Link();
  EXPECT_EQ(link_, before);
  EXPECT_EQ(Import({FileEntry("f")}).unchanged(), 1U);
  EXPECT_EQ(At("f"), file);
  // Ids of other places are new ones.
  const auto another = TryLink("/third", "third");
  ASSERT_TRUE(another);
  EXPECT_GT(another->repository().id(), before + 1);
}

TEST_F(RepositoriesTest, AnAgentThatIsNotHeardOfGetsNoWork) {
  v1::AgentHeartbeatRequest beat;
  beat.set_fsname("sheen");
  beat.mutable_agent()->set_name("a");
  const auto agents = [this] {
    return Run(service_->repositories()->ListRepositories({}))->agents_size();
  };
  EXPECT_EQ(agents(), 0);
  ASSERT_TRUE(Run(service_->repositories()->AgentHeartbeat(beat)));
  EXPECT_EQ(agents(), 1);
  RunFor(Repositories::kAgentTimeout + std::chrono::seconds(1));
  EXPECT_EQ(agents(), 0);
  ASSERT_TRUE(Run(service_->repositories()->AgentHeartbeat(beat)));
  beat.set_leaving(true);
  ASSERT_TRUE(Run(service_->repositories()->AgentHeartbeat(beat)));
  EXPECT_EQ(agents(), 0);
  beat.set_fsname("other");
  EXPECT_EQ(Run(service_->repositories()->AgentHeartbeat(beat)).error().code(),
            Errc::kWrongFilesystem);
}

}  // namespace
}  // namespace sheen::mds
