// Clients that append to one file at the same time: every record is in the file once, whole.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr int kRecords = 12;  // of each task
constexpr int kTasks = 2;     // of each client

// "<task:number:xxxxx>", of some thousand bytes: across stripes and blocks.
std::string RecordOf(int task, int number, size_t bytes) {
  std::string record = "<" + std::to_string(task) + ":" + std::to_string(number) + ":";
  record.append(bytes, 'x');
  return record + ">";
}

async::Task<void> AppendAll(async::Shard* shard, Filesystem* fs, Fid fid, int task, uint64_t seed,
                            int* left) {
  Random random(seed);
  const auto opened = co_await fs->Open(0, fid, O_WRONLY | O_APPEND);
  EXPECT_TRUE(opened.has_value());
  for (int i = 0; i < kRecords && !::testing::Test::HasFailure(); ++i) {
    co_await shard->Sleep(std::chrono::microseconds(random.Below(1500)));
    const std::string record = RecordOf(task, i, random.Below(60'000));
    client::WriteOptions options;
    options.append = true;
    const auto written =
        co_await fs->Write(fid, opened->handle, 0, std::as_bytes(std::span(record)), options);
    EXPECT_TRUE(written.has_value());
    EXPECT_EQ(written.value_or(0), record.size());
  }
  const Status closed = co_await fs->Close(fid, opened->handle);
  EXPECT_TRUE(closed.has_value());
  --*left;
}

async::Task<void> ReadAll(Filesystem* fs, Fid fid, std::string* out) {
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened.has_value());
  out->resize(opened->attr.size);
  const auto read = co_await fs->Read(fid, opened->handle, 0,
                                      std::as_writable_bytes(std::span(*out)));
  EXPECT_EQ(read.value_or(0), out->size());
  const Status closed = co_await fs->Close(fid, opened->handle);
  EXPECT_TRUE(closed.has_value());
}

async::Task<void> Race(async::Shard* shard, std::vector<Filesystem*> clients, uint64_t seed,
                       std::string* out) {
  // Its creator knows the size by itself until the others come.
  client::CreateOptions options;
  options.mode = 0644;
  options.flags = O_WRONLY | O_APPEND;
  const auto made = co_await clients[0]->Create(0, clients[0]->root(), "log", options);
  EXPECT_TRUE(made.has_value());
  const Fid fid = made->attr.fid;
  int left = 0;
  for (size_t i = 0; i < clients.size() * kTasks; ++i) {
    ++left;
    const int task = static_cast<int>(i);
    shard->Spawn(AppendAll(shard, clients[i % clients.size()], fid, task, seed * 64 + i, &left));
  }
  while (left > 0) co_await shard->Sleep(std::chrono::milliseconds(1));
  const Status closed = co_await clients[0]->Close(fid, made->handle);
  EXPECT_TRUE(closed.has_value());
  co_await ReadAll(clients.back(), fid, out);
}

void CheckRecords(const std::string& text, int tasks) {
  std::map<std::string, int> seen;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = text.find('>', at);
    ASSERT_EQ(text[at], '<') << "torn at " << at;
    ASSERT_NE(end, std::string::npos);
    const std::string record = text.substr(at, end - at + 1);
    const size_t body = record.find(':', record.find(':') + 1);
    ASSERT_NE(body, std::string::npos);
    ASSERT_EQ(record.find_first_not_of('x', body + 1), record.size() - 1) << "torn at " << at;
    ++seen[record.substr(0, body)];
    at = end + 1;
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(tasks * kRecords)) << "records were lost";
  for (const auto& [record, count] : seen) EXPECT_EQ(count, 1) << record << " is there again";
}

void RunAppends(uint64_t seed, SimOptions options) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  options.seed = seed;
  SimCluster cluster(options);
  const std::vector<Filesystem*> clients{cluster.AddClient("alice"), cluster.AddClient("bob"),
                                         cluster.AddClient("carol")};
  std::string text;
  cluster.Run(Race(cluster.shard(), clients, seed, &text));
  CheckRecords(text, static_cast<int>(clients.size()) * kTasks);
}

TEST(SimAppendTest, NoRecordIsLostTornOrDoubled) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < 10 && !::testing::Test::HasFailure(); ++i) RunAppends(seed + i, {});
}

TEST(SimAppendTest, NorOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < 10 && !::testing::Test::HasFailure(); ++i) {
    RunAppends(seed + i, {.break_one_in = 60});
  }
}

async::Task<void> AppendOne(Filesystem* fs, Fid fid, uint64_t handle, std::string record) {
  client::WriteOptions options;
  options.append = true;
  const auto written = co_await fs->Write(fid, handle, 0, AsBytes(record), options);
  EXPECT_TRUE(written) << (written ? "" : written.error().ToString());
  EXPECT_EQ(written.value_or(0), record.size());
}

// She has decided where her record goes when she is cut off; others append there meanwhile.
void RunAway(Nanos away) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  Fid fid;
  uint64_t handle = 0;
  cluster.Run([](Filesystem* fs, Fid* file, uint64_t* opened) -> async::Task<void> {
    client::CreateOptions options;
    options.mode = 0644;
    options.flags = O_WRONLY | O_APPEND;
    const auto made = co_await fs->Create(0, fs->root(), "log", options);
    EXPECT_TRUE(made.has_value());
    *file = made->attr.fid;
    *opened = made->handle;
  }(alice, &fid, &handle));
  cluster.Run(AppendOne(alice, fid, handle, "<first>"));
  const std::vector<std::string> servers{"mds0", "oss0", "oss1"};
  for (const std::string& server : servers) cluster.network()->Partition("alice", server);
  const auto late = cluster.Begin(AppendOne(alice, fid, handle, "<of alice>"));
  async::RunFor(cluster.shard(), away);
  cluster.Run([](Filesystem* fs, Fid file) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, file, O_WRONLY | O_APPEND);
    EXPECT_TRUE(opened.has_value());
    if (!opened) co_return;
    co_await AppendOne(fs, file, opened->handle, "<of bob>");
    const Status synced = co_await fs->Fsync(file);
    EXPECT_TRUE(synced);
    const Status closed = co_await fs->Close(file, opened->handle);
    EXPECT_TRUE(closed);
  }(bob, fid));
  for (const std::string& server : servers) cluster.network()->Heal("alice", server);
  cluster.Finish(late);
  std::string text;
  cluster.Run(ReadAll(bob, fid, &text));
  EXPECT_EQ(text, "<first><of bob><of alice>");
}

TEST(SimAppendTest, WhoWasAwayAppendsBehindTheOthers) { RunAway(std::chrono::seconds(5)); }

TEST(SimAppendTest, WhoWasEvictedAppendsBehindTheOthers) { RunAway(std::chrono::seconds(90)); }

}  // namespace
}  // namespace sheen::test
