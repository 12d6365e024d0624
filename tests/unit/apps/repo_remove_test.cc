// A link that is taken away, and one that stays because something failed.
#include "apps/sheen/repo_remove.h"

#include <gtest/gtest.h>

namespace sheen::apps {
namespace {

// The MDS: one link, compared by itself.
class RepoRemoveTest : public ::testing::Test {
 protected:
  RepoRemoveTest() {
    v1::Repository* const link = all_.add_repositories();
    link->set_id(4);
    link->set_path("/data");
    link->set_import_every_s(300);
    link->set_concurrency(7);
    calls_.list = [this] { return List(); };
    calls_.update = [this](const v1::Repository& wanted) { return Update(wanted); };
    calls_.drop_names = [this]() -> Result<uint64_t> {
      EXPECT_FALSE(running_);
      EXPECT_EQ(Every(), 0U);
      if (s3_is_away_) return Fail(Errc::kIo, "S3 is away");
      return uint64_t{5};
    };
    calls_.remove = [this]() -> Result<v1::RemoveRepositoryReply> {
      if (mds_refuses_) return Fail(Errc::kBusy, "not now");
      all_.clear_repositories();
      return v1::RemoveRepositoryReply();
    };
    calls_.pause = [this]() -> Status {
      if (++pauses_ == interrupted_at_) return Fail(Errc::kInterrupted, "interrupted");
      if (pauses_ == comparison_looks_) running_ = false;
      return {};
    };
  }
  Result<v1::ListRepositoriesReply> List() {
    v1::ListRepositoriesReply out = all_;
    if (running_ || (out.repositories_size() > 0 && Every() != 0)) {
      v1::ImportState* const state = out.add_imports();
      state->set_repository(4);
      state->set_running(running_);
    }
    return out;
  }
  Status Update(const v1::Repository& wanted) {
    if (++updates_ > updates_max_) return Fail(Errc::kUnavailable, "the MDS is away");
    *all_.mutable_repositories(0) = wanted;
    return {};
  }
  uint32_t Every() const { return all_.repositories(0).import_every_s(); }

  v1::ListRepositoriesReply all_;
  RemoveCalls calls_;
  bool running_ = true;
  int comparison_looks_ = 3;
  int pauses_ = 0;
  int interrupted_at_ = 0;
  int updates_ = 0;
  int updates_max_ = 100;
  bool s3_is_away_ = false;
  bool mds_refuses_ = false;
};

TEST_F(RepoRemoveTest, NamesGoWhenTheComparisonUnderWayHasEnded) {
  const Result<RemovedLink> removed = RemoveLink("/data", calls_);
  ASSERT_TRUE(removed) << removed.error().ToString();
  EXPECT_EQ(removed->dropped, 5U);
  EXPECT_EQ(pauses_, 3);
  EXPECT_EQ(updates_, 1);
  EXPECT_EQ(all_.repositories_size(), 0);
}

TEST_F(RepoRemoveTest, ALinkWhoseNamesStayIsComparedAsBefore) {
  s3_is_away_ = true;
  const Result<RemovedLink> removed = RemoveLink("/data", calls_);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().message(), "S3 is away");
  EXPECT_EQ(Every(), 300U);
  EXPECT_EQ(all_.repositories(0).concurrency(), 7U);
}

TEST_F(RepoRemoveTest, ALinkWhoseRemovalIsInterruptedIsComparedAsBefore) {
  interrupted_at_ = 2;
  const Result<RemovedLink> removed = RemoveLink("/data", calls_);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code(), Errc::kInterrupted);
  EXPECT_EQ(Every(), 300U);
  EXPECT_EQ(all_.repositories_size(), 1);
}

TEST_F(RepoRemoveTest, ALinkThatTheMdsDoesNotTakeAwayIsComparedAsBefore) {
  mds_refuses_ = true;
  ASSERT_FALSE(RemoveLink("/data", calls_));
  EXPECT_EQ(Every(), 300U);
}

TEST_F(RepoRemoveTest, ALinkWhoseComparisonDoesNotEndIsComparedAsBefore) {
  comparison_looks_ = 1 << 30;
  const Result<RemovedLink> removed = RemoveLink("/data", calls_);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code(), Errc::kBusy);
  EXPECT_EQ(Every(), 300U);
}

TEST_F(RepoRemoveTest, WhoLosesItsOrderAllTheSameIsToldHowToGiveItAgain) {
  s3_is_away_ = true;
  updates_max_ = 1;
  const Result<RemovedLink> removed = RemoveLink("/data", calls_);
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().message().find("sheen repo update /data --every 300s"),
            std::string::npos)
      << removed.error().message();
}

TEST_F(RepoRemoveTest, ALinkThatWasNeverComparedIsNotOrderedToBe) {
  all_.mutable_repositories(0)->set_import_every_s(0);
  running_ = false;
  s3_is_away_ = true;
  ASSERT_FALSE(RemoveLink("/data", calls_));
  EXPECT_EQ(updates_, 0);
  EXPECT_EQ(Every(), 0U);
}

}  // namespace
}  // namespace sheen::apps
