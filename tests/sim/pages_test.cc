// Pages that kernels keep of files which other mounts change: what is mapped is read without asking
// anybody, and shows what was answered to a writer before, on whatever mount.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kPages = 6;

// The pages of one file in the kernel of one mount. A page that is being read or written back is
// locked; who is to forget it waits for that. write(2) puts its bytes there before it asks.
class Mapping final : public client::KernelNotifier {
 public:
  Mapping(async::Shard* shard, Filesystem* fs) : shard_(shard), fs_(fs) {
    fs->kernel()->SetNotifier(this);
  }

  async::Task<void> Open(std::string name) {
    const auto found = co_await fs_->Lookup(0, fs_->root(), name);
    EXPECT_TRUE(found) << (found ? "" : found.error().ToString());
    if (!found) co_return;
    const auto opened = co_await fs_->Open(0, found->fid, O_RDWR);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
    fid_ = found->fid;
    if (opened) handle_ = opened->handle;
  }
  async::Task<void> Close() {
    const Status closed = co_await fs_->Close(fid_, handle_);
    EXPECT_TRUE(closed);
  }

  // A load: no system call where the page is there. Gives the number in it; UINT64_MAX: none.
  async::Task<uint64_t> Load(uint32_t page) {
    while (locked_.contains(page)) co_await shard_->Sleep(milliseconds(1));
    const auto found = pages_.find(page);
    if (found != pages_.end()) {
      ++hits;
      co_return found->second;
    }
    locked_.insert(page);
    std::string bytes(kPageBytes, '\0');
    const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    const auto read = co_await fs_->Read(fid_, handle_, page * kPageBytes, span);
    EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
    uint64_t number = UINT64_MAX;
    if (read && *read == kPageBytes) std::memcpy(&number, bytes.data(), sizeof number);
    pages_[page] = number;
    locked_.erase(page);
    co_return number;
  }
  // write(2), or with `mapped` a store and its write-back.
  async::Task<void> Store(uint32_t page, uint64_t number, bool mapped) {
    if (mapped) static_cast<void>(co_await Load(page));
    while (locked_.contains(page)) co_await shard_->Sleep(milliseconds(1));
    if (mapped) locked_.insert(page);
    pages_[page] = number;
    std::string bytes(kPageBytes, '\0');
    std::memcpy(bytes.data(), &number, sizeof number);
    const auto wrote = co_await fs_->Write(fid_, handle_, page * kPageBytes, AsBytes(bytes),
                                           {.direct = mapped});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    if (mapped) locked_.erase(page);
  }

  void Notify(client::KernelNotice notice) override { shard_->Spawn(Tell(std::move(notice))); }

  uint64_t hits = 0;
  uint64_t forgotten = 0;
  bool deaf = false;  // it does not get to forgetting

 private:
  async::Task<void> Tell(client::KernelNotice notice) {
    co_await shard_->Sleep(milliseconds(1));
    while (deaf) co_await shard_->Sleep(milliseconds(10));
    const Nanos began = shard_->Now();
    for (uint32_t page = 0; notice.data_length > 0 && page < kPages; ++page) {
      while (locked_.contains(page)) {
        co_await shard_->Sleep(milliseconds(1));
        // As fuse::KernelNotices: who waits for it may be who is waited for.
        const bool crossed = fs_->kernel()->IsChanging(fid_);
        if (shard_->Now() - began < (crossed ? milliseconds(20) : milliseconds(1000))) continue;
        if (notice.done) std::exchange(notice.done, {})();
      }
      forgotten += pages_.erase(page);
    }
    if (notice.done) notice.done();
  }

  async::Shard* const shard_;
  Filesystem* const fs_;
  Fid fid_;
  uint64_t handle_ = 0;
  std::map<uint32_t, uint64_t> pages_;
  std::set<uint32_t> locked_;
};

class SimPagesTest : public ::testing::Test {
 protected:
  SimPagesTest() : seed_(TestSeed()), random_(seed_), cluster_({.seed = seed_}) {
    for (const char* name : {"alice", "bob"}) {
      Filesystem* const fs = cluster_.AddClient(name);
      mounts_.push_back(std::make_unique<Mapping>(cluster_.shard(), fs));
      clients_.push_back(fs);
    }
    cluster_.Run(Make(clients_[0]));
    for (const auto& mount : mounts_) cluster_.Run(mount->Open("f"));
  }
  void TearDown() override {
    for (const auto& mount : mounts_) mount->deaf = false;
    for (const auto& mount : mounts_) cluster_.Run(mount->Close());
    for (Filesystem* const fs : clients_) EXPECT_TRUE(cluster_.RemoveClient(fs));
  }
  static async::Task<void> Make(Filesystem* fs) {
    const auto made = co_await fs->Create(0, fs->root(), "f", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
    if (!made) co_return;
    const std::string zeros(kPages * kPageBytes, '\0');
    const auto wrote = co_await fs->Write(made->attr.fid, made->handle, 0, AsBytes(zeros), {});
    EXPECT_TRUE(wrote);
    EXPECT_TRUE(co_await fs->Close(made->attr.fid, made->handle));
  }

  // One writer at a time for each page; loads at any time. A mount that reads a page again while
  // its own write of it is under way may keep what it read (docs/posix.md), so it is checked
  // against what the other has written.
  async::Task<void> Write(size_t side, int count) {
    Mapping* const mount = mounts_[side].get();
    for (int i = 0; i < count; ++i) {
      const auto page = static_cast<uint32_t>(random_.Below(kPages));
      while (writing_.contains(page)) co_await cluster_.shard()->Sleep(milliseconds(1));
      writing_.insert(page);
      const uint64_t number = ++last_;
      co_await mount->Store(page, number, false);
      answered_[side][page] = number;
      writing_.erase(page);
      co_await cluster_.shard()->Sleep(Nanos(random_.Below(3'000'000)));
    }
  }
  async::Task<void> Look(size_t side, int count) {
    Mapping* const mount = mounts_[side].get();
    for (int i = 0; i < count; ++i) {
      const auto page = static_cast<uint32_t>(random_.Below(kPages));
      const uint64_t at_least = answered_[1 - side][page];
      const uint64_t seen = co_await mount->Load(page);
      EXPECT_GE(seen, at_least) << "page " << page << ", load " << i;
      co_await cluster_.shard()->Sleep(Nanos(random_.Below(1'000'000)));
    }
  }
  static async::Task<void> LoadInto(Mapping* mount, uint32_t page, uint64_t* out) {
    *out = co_await mount->Load(page);
  }
  uint64_t Load(size_t mount, uint32_t page) {
    uint64_t out = 0;
    cluster_.Run(LoadInto(mounts_[mount].get(), page, &out));
    return out;
  }
  // Gives for how long the writer waited.
  Nanos Store(size_t mount, uint32_t page, uint64_t number, bool mapped = false) {
    const Nanos began = cluster_.shard()->Now();
    cluster_.Run(mounts_[mount]->Store(page, number, mapped));
    return cluster_.shard()->Now() - began;
  }

  const uint64_t seed_;
  Random random_;
  SimCluster cluster_;
  std::vector<std::unique_ptr<Mapping>> mounts_;
  std::vector<Filesystem*> clients_;
  std::array<std::map<uint32_t, uint64_t>, 2> answered_;  // by who wrote it
  std::set<uint32_t> writing_;
  uint64_t last_ = 0;
};

TEST_F(SimPagesTest, AMappingShowsWhatAnotherMountHasWritten) {
  EXPECT_EQ(Load(1, 2), 0U);
  EXPECT_EQ(Load(1, 2), 0U);
  EXPECT_EQ(mounts_[1]->hits, 1U) << "nobody is asked for what is there";
  for (uint64_t number = 1; number <= 5; ++number) {
    Store(0, 2, number);
    EXPECT_EQ(Load(1, 2), number);
  }
  // And of what is held back: its holder writes it when the other one's page is read.
  EXPECT_EQ(Load(0, 2), 5U);
}

TEST_F(SimPagesTest, LoadsAreNeverOlderThanWhatWasAnsweredToWriters) {
  std::vector<std::shared_ptr<bool>> all;
  // Who has only written need not be called back.
  for (size_t side = 0; side < mounts_.size(); ++side) EXPECT_EQ(Load(side, 0), 0U);
  for (size_t side = 0; side < mounts_.size(); ++side) {
    all.push_back(cluster_.Begin(Write(side, 60)));
    all.push_back(cluster_.Begin(Write(side, 60)));
    for (int i = 0; i < 3; ++i) all.push_back(cluster_.Begin(Look(side, 300)));
  }
  for (const auto& done : all) cluster_.Finish(done);
  for (const auto& mount : mounts_) {
    EXPECT_GT(mount->hits, 50U) << "the scene needs pages that are kept";
    EXPECT_GT(mount->forgotten, 10U);
  }
}

TEST_F(SimPagesTest, TwoThatWriteBackThePagesOfOneFileDoNotWaitForEachOther) {
  for (size_t mount = 0; mount < 2; ++mount) {
    for (uint32_t page = 0; page < kPages; ++page) Load(mount, page);
  }
  const Nanos began = cluster_.shard()->Now();
  const auto one = cluster_.Begin(mounts_[0]->Store(1, 100, true));
  const auto other = cluster_.Begin(mounts_[1]->Store(2, 200, true));
  cluster_.Finish(one);
  cluster_.Finish(other);
  EXPECT_LT(cluster_.shard()->Now() - began, milliseconds(200));
  async::RunFor(cluster_.shard(), milliseconds(100));
  EXPECT_EQ(Load(0, 2), 200U);
  EXPECT_EQ(Load(1, 1), 100U);
}

// The kernel of a mount that has lost its connection cannot be told: nobody waits for it for long,
// and it drops everything when it is back.
TEST_F(SimPagesTest, WhoIsCutOffIsNotWaitedForAndForgetsWhenItIsBack) {
  EXPECT_EQ(Load(1, 0), 0U);
  for (const char* server : {"oss0", "oss1"}) {
    cluster_.network()->Partition("bob", server);
    cluster_.network()->Break("bob", server);
  }
  EXPECT_LT(Store(0, 0, 1, true), seconds(4)) << "for as long as it may come back";
  EXPECT_LT(Store(0, 0, 2, true), seconds(1)) << "not again";
  for (const char* server : {"oss0", "oss1"}) cluster_.network()->Heal("bob", server);
  async::RunFor(cluster_.shard(), seconds(10));
  EXPECT_EQ(Load(1, 5), 0U);  // a read that finds the way again
  async::RunFor(cluster_.shard(), seconds(1));
  EXPECT_EQ(Load(1, 0), 2U);
}

TEST_F(SimPagesTest, AfterARestartOfTheOssMappingsAreRightAgain) {
  for (uint32_t page = 0; page < kPages; ++page) Load(1, page);
  cluster_.KillOss();
  async::RunFor(cluster_.shard(), seconds(5));
  for (uint64_t number = 1; number <= 3; ++number) {
    Store(0, 3, number);
    async::RunFor(cluster_.shard(), seconds(1));
    EXPECT_EQ(Load(1, 3), number);
  }
}

}  // namespace
}  // namespace sheen::test
