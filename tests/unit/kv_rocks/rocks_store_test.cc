#include "kv/rocks_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/random.h"
#include "kv/rocks_start.h"
#include "support/kv_conformance.h"

namespace sheen::kv {
namespace {

namespace fs = std::filesystem;

class TempDir final {
 public:
  TempDir() {
    std::string name = (fs::temp_directory_path() / "sheen-kv-XXXXXX").string();
    path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string path() const { return path_ + "/store"; }

 private:
  std::string path_;
};

RocksOptions OptionsOf(const TempDir& dir, bool create) {
  return {.directory = dir.path(), .families = {"one", "two", "three"}, .create = create};
}

class RocksRig final {
 public:
  RocksRig() {
    auto store = OpenRocksStore(OptionsOf(dir_, true));
    EXPECT_TRUE(store.has_value()) << store.error().ToString();
    store_ = std::move(*store);
  }
  Store* store() { return store_.get(); }
  void Restart() {
    store_.reset();
    auto store = OpenRocksStore(OptionsOf(dir_, false));
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    store_ = std::move(*store);
  }

 private:
  TempDir dir_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Rocks, KvConformance, RocksRig);

TEST(RocksStart, AReserveIsSetAsideAndMayGoAtAnyTime) {
  EXPECT_EQ(StartReserve(64 << 20), 2U << 20);
  EXPECT_EQ(StartReserve(1ULL << 40), kStartReserveMax);
  const TempDir dir;
  const std::string reserve = dir.path() + "/sheen.reserve";
  ASSERT_TRUE(OpenRocksStore(OptionsOf(dir, true)).has_value());
  const uint64_t bytes = fs::file_size(reserve);
  EXPECT_EQ(bytes, StartReserve(fs::space(dir.path()).capacity));
  fs::remove(reserve);
  ASSERT_TRUE(OpenRocksStore(OptionsOf(dir, false)).has_value());
  EXPECT_EQ(fs::file_size(reserve), bytes);
}

std::string KeyOf(int i) { return "key" + std::to_string(1000 + i); }

void PutNumber(Store* store, int i) {
  Batch batch;
  batch.Put(0, KeyOf(i), std::string(100, 'v'));
  batch.Put(1, KeyOf(i), "x");
  ASSERT_TRUE(store->Write(batch, Blocking::kMayBlock));
}

// Leaves in `dir` what kill -9 would: the files as they are while the store is open and at rest
// (every write has reached write(2), nothing was closed).
void RunAndDie(const TempDir& dir, const std::function<void(Store*)>& work) {
  TempDir living;
  const auto store = OpenRocksStore(OptionsOf(living, true));
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  work(store->get());
  fs::copy(living.path(), dir.path(), fs::copy_options::recursive);
}

// The log with the most bytes: the one in use.
std::string LogOf(const TempDir& dir) {
  std::string best;
  for (const auto& entry : fs::directory_iterator(dir.path())) {
    if (entry.path().extension() != ".log") continue;
    if (best.empty() || entry.file_size() > fs::file_size(best)) best = entry.path();
  }
  return best;
}

void Overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// How many of KeyOf(0), KeyOf(1), ... are there; fails when one is missing in between, or when the
// two families do not agree.
int CountPrefix(Store* store, int written) {
  int count = 0;
  for (int i = 0; i < written; ++i) {
    const auto one = store->Get(0, KeyOf(i), Blocking::kMayBlock);
    const auto two = store->Get(1, KeyOf(i), Blocking::kMayBlock);
    EXPECT_EQ(one->has_value(), two->has_value()) << i;
    if (!one->has_value()) continue;
    EXPECT_EQ(count, i) << "a hole before";
    ++count;
  }
  return count;
}

TEST(RocksStoreTest, UnsyncedWritesSurviveTheDeathOfTheProcess) {
  TempDir dir;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 50; ++i) PutNumber(store, i);
  });
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  EXPECT_EQ(CountPrefix(store->get(), 50), 50);
}

TEST(RocksStoreTest, TornTailOpensWithAPrefix) {
  for (const uint64_t cut : {1U, 5U, 60U, 137U, 500U}) {
    TempDir dir;
    RunAndDie(dir, [](Store* store) {
      for (int i = 0; i < 50; ++i) PutNumber(store, i);
    });
    const std::string log = LogOf(dir);
    fs::resize_file(log, fs::file_size(log) - cut);
    auto store = OpenRocksStore(OptionsOf(dir, false));
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    const int count = CountPrefix(store->get(), 50);
    EXPECT_LT(count, 50);
    EXPECT_GE(count, 50 - 1 - static_cast<int>(cut / 100));
    // And it can be written to and opened again.
    PutNumber(store->get(), 60);
    store->reset();
    const auto again = OpenRocksStore(OptionsOf(dir, false));
    ASSERT_TRUE(again.has_value()) << again.error().ToString();
    EXPECT_TRUE((*again)->Get(0, KeyOf(60), Blocking::kMayBlock)->has_value());
    EXPECT_EQ(CountPrefix(again->get(), 50), count);
  }
}

TEST(RocksStoreTest, DamageInUnsyncedLogNeverLeavesAHole) {
  TempDir dir;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 50; ++i) PutNumber(store, i);
  });
  const std::string log = LogOf(dir);
  Overwrite(log, fs::file_size(log) / 2, std::string(1, '\x5a'));
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  const int count = CountPrefix(store->get(), 50);
  EXPECT_GT(count, 10);
  EXPECT_LT(count, 40);
}

TEST(RocksStoreTest, BlockOfZerosInUnsyncedLogNeverLeavesAHole) {
  TempDir dir;
  constexpr int kCount = 2000;  // about ten of the log's 32 KiB blocks
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < kCount; ++i) PutNumber(store, i);
  });
  const std::string log = LogOf(dir);
  ASSERT_GT(fs::file_size(log), 5U * 32768);
  Overwrite(log, 2 * 32768, std::string(32768, '\0'));
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  const int count = CountPrefix(store->get(), kCount);
  EXPECT_GT(count, 100);
  EXPECT_LT(count, kCount / 2);
}

TEST(RocksStoreTest, DamageInSyncedLogIsRefusedAndNothingIsChanged) {
  TempDir dir;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 40; ++i) PutNumber(store, i);
    ASSERT_TRUE(store->Sync());
    // More than a block of the log, so that something readable comes after the damage.
    for (int i = 40; i < 900; ++i) PutNumber(store, i);
  });
  const std::string log = LogOf(dir);
  const auto bytes = fs::file_size(log);
  Overwrite(log, 2000, std::string(1, '\x5a'));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto store = OpenRocksStore(OptionsOf(dir, false));
    ASSERT_FALSE(store.has_value());
    EXPECT_EQ(store.error().code(), Errc::kCorrupt) << store.error().ToString();
    EXPECT_EQ(fs::file_size(log), bytes);
  }
}

TEST(RocksStoreTest, DamageBehindTheSyncedPartIsATornTail) {
  TempDir dir;
  uint64_t synced_bytes = 0;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 40; ++i) PutNumber(store, i);
    ASSERT_TRUE(store->Sync());
    for (int i = 40; i < 900; ++i) PutNumber(store, i);
  });
  const std::string log = LogOf(dir);
  synced_bytes = fs::file_size(log) * 40 / 900;
  Overwrite(log, 3 * synced_bytes, std::string(1, '\x5a'));
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  EXPECT_GE(CountPrefix(store->get(), 900), 40);
}

TEST(RocksStoreTest, ShortenedOlderLogIsRefused) {
  TempDir dir;
  RocksOptions options = OptionsOf(dir, true);
  options.write_buffer_bytes = 64 << 10;
  // Family 1 is never full, so the logs stay while family 0 is flushed again and again; each flush
  // syncs the logs before it and notes their sizes in the manifest.
  // A close leaves the logs as they are.
  {
    const auto store = OpenRocksStore(options);
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    for (int i = 0; i < 3000; ++i) {
      Batch batch;
      batch.Put(0, KeyOf(i), std::string(200, static_cast<char>(i)));
      if (i % 100 == 0) batch.Put(1, KeyOf(i), "x");
      ASSERT_TRUE((*store)->Write(batch, Blocking::kMayBlock));
    }
    ASSERT_TRUE((*store)->Sync());
  }
  std::vector<fs::path> logs;
  for (const auto& entry : fs::directory_iterator(dir.path())) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) logs.push_back(entry.path());
  }
  std::ranges::sort(logs);
  ASSERT_GT(logs.size(), 1U);
  fs::resize_file(logs[0], fs::file_size(logs[0]) - 10);
  options.create = false;
  const auto store = OpenRocksStore(options);
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error().code(), Errc::kCorrupt) << store.error().ToString();
}

TEST(RocksStoreTest, EmptyManifestPointerIsRefused) {
  TempDir dir;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 40; ++i) PutNumber(store, i);
  });
  fs::resize_file(dir.path() + "/CURRENT", 0);
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_FALSE(store.has_value());
}

TEST(RocksStoreTest, SecondProcessIsRefusedByName) {
  TempDir dir;
  const auto store = OpenRocksStore(OptionsOf(dir, true));
  ASSERT_TRUE(store.has_value());
  const auto second = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_NE(second.error().message().find(dir.path()), std::string::npos);
  EXPECT_NE(second.error().message().find("another process"), std::string::npos);
  EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos);
}

TEST(RocksStoreTest, CreateAndOpenRefuseTheWrongDirectory) {
  TempDir dir;
  EXPECT_EQ(OpenRocksStore(OptionsOf(dir, false)).error().code(), Errc::kNoEntry);
  ASSERT_TRUE(OpenRocksStore(OptionsOf(dir, true)).has_value());
  EXPECT_EQ(OpenRocksStore(OptionsOf(dir, true)).error().code(), Errc::kExists);
}

TEST(RocksStoreTest, FamiliesCanBeAddedButNotForgotten) {
  TempDir dir;
  ASSERT_TRUE(OpenRocksStore(OptionsOf(dir, true)).has_value());
  RocksOptions more = OptionsOf(dir, false);
  more.families.push_back("four");
  {
    const auto store = OpenRocksStore(more);
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    Batch batch;
    batch.Put(3, "k", "v");
    EXPECT_TRUE((*store)->Write(batch, Blocking::kMayBlock));
  }
  EXPECT_EQ(OpenRocksStore(OptionsOf(dir, false)).error().code(), Errc::kBadVersion);
  EXPECT_TRUE(OpenRocksStore(more).has_value());
}

TEST(RocksStoreTest, ColdReadAnswersWouldBlockAndThenReadsWhenItMay) {
  TempDir dir;
  RunAndDie(dir, [](Store* store) {
    for (int i = 0; i < 40; ++i) PutNumber(store, i);
  });
  // Opening replays the log into tables; nothing of them is in the cache.
  const auto store = OpenRocksStore(OptionsOf(dir, false));
  ASSERT_TRUE(store.has_value());
  const auto cold = (*store)->Get(0, KeyOf(7), Blocking::kNever);
  ASSERT_FALSE(cold.has_value());
  EXPECT_EQ(cold.error().code(), Errc::kWouldBlock);
  EXPECT_TRUE((*store)->Get(0, KeyOf(7), Blocking::kMayBlock)->has_value());
  const auto warm = (*store)->Get(0, KeyOf(7), Blocking::kNever);
  ASSERT_TRUE(warm.has_value()) << warm.error().ToString();
  EXPECT_TRUE(warm->has_value());
  const auto cursor = (*store)->NewCursor(1, Blocking::kNever);
  cursor->Seek("");
  EXPECT_FALSE(cursor->Valid());
  EXPECT_EQ(cursor->status().error().code(), Errc::kWouldBlock);
}

// RocksDB opens a part of many tables only; a read that may not open one knows nothing of its rows.
TEST(RocksStoreTest, OfATableThatIsNotOpenReadsSayThatTheyWouldBlock) {
  constexpr Family kFamilies = 60;
  TempDir dir;
  RocksOptions options = OptionsOf(dir, true);
  for (Family i = 3; i < kFamilies; ++i) options.families.push_back("more" + std::to_string(i));
  {
    const auto store = OpenRocksStore(options);
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    Batch batch;
    for (Family i = 0; i < kFamilies; ++i) batch.Put(i, "key", std::string(100, 'v'));
    ASSERT_TRUE((*store)->Write(batch, Blocking::kMayBlock));
  }
  options.create = false;
  // The first makes tables of the log.
  ASSERT_TRUE(OpenRocksStore(options).has_value());
  const auto store = OpenRocksStore(options);
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  int blocked = 0;
  for (Family i = 0; i < kFamilies; ++i) {
    const auto cursor = (*store)->NewCursor(i, Blocking::kNever);
    cursor->Seek("");
    EXPECT_TRUE(cursor->Valid() || !cursor->status()) << i;
    const auto value = (*store)->Get(i, "key", Blocking::kNever);
    if (!value) {
      EXPECT_EQ(value.error().code(), Errc::kWouldBlock);
      ++blocked;
      continue;
    }
    ASSERT_TRUE(value->has_value()) << i;
    EXPECT_EQ((*value)->size(), 100u) << i;
  }
  EXPECT_EQ(blocked, kFamilies) << "nothing is in the cache";
}

// Rows that replace each other over several tables, so that there is something to compact.
void FillTables(Store* store, int rounds) {
  Random random(7);
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 500; ++i) {
      Batch batch;
      std::string value(1000, 'x');
      for (char& byte : value) byte = static_cast<char>(random.Below(256));
      batch.Put(0, KeyOf(i), std::move(value));
      ASSERT_TRUE(store->Write(batch, Blocking::kMayBlock));
    }
    ASSERT_TRUE(store->ReclaimSpace(Reclaim::kLog));
  }
}

// Until the store has at most `bytes`; false: not within 30 s.
bool ReclaimDownTo(Store* store, uint64_t bytes) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (store->ApproximateBytes() > bytes) {
    EXPECT_TRUE(store->ReclaimSpace(Reclaim::kDeletedRows).has_value());
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(RocksStoreTest, ACompactionThatFindsNoRoomLeavesTheStoreServing) {
  TempDir dir;
  std::atomic<uint64_t> room{0};
  std::atomic<int> asked{0};
  RocksOptions options = OptionsOf(dir, true);
  options.reserve_bytes = 16 << 20;
  options.compaction_room = [&] {
    ++asked;
    return room.load();
  };
  const auto store = OpenRocksStore(options);
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  FillTables(store->get(), 6);
  const uint64_t before = (*store)->ApproximateBytes();
  EXPECT_GT(before, 2U << 20);
  ASSERT_TRUE((*store)->ReclaimSpace(Reclaim::kDeletedRows).has_value());
  while (asked.load() == 0) std::this_thread::yield();
  // Writing, flushing and syncing go on.
  FillTables(store->get(), 2);
  PutNumber(store->get(), 1);
  ASSERT_TRUE((*store)->Sync().has_value());
  EXPECT_GT((*store)->ApproximateBytes(), before);
  // And so does compacting, when there is room.
  room.store(UINT64_MAX);
  EXPECT_TRUE(ReclaimDownTo(store->get(), 1U << 20)) << "one version of 500 rows of 1000 bytes";
  EXPECT_TRUE((*store)->Get(0, KeyOf(499), Blocking::kMayBlock)->has_value());
  EXPECT_TRUE((*store)->Get(1, KeyOf(1), Blocking::kMayBlock)->has_value());
}

TEST(RocksStoreTest, DeletedRowsGiveTheirSpaceBack) {
  TempDir dir;
  RocksOptions options = OptionsOf(dir, true);
  options.reserve_bytes = 16 << 20;
  const auto store = OpenRocksStore(options);
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  FillTables(store->get(), 1);
  Batch batch;
  for (int i = 0; i < 450; ++i) batch.Delete(0, KeyOf(i));
  ASSERT_TRUE((*store)->Write(batch, Blocking::kMayBlock));
  ASSERT_TRUE((*store)->ReclaimSpace(Reclaim::kLog));
  EXPECT_GE((*store)->DeletedRows(), 450U);
  EXPECT_TRUE(ReclaimDownTo(store->get(), 200 << 10));
  EXPECT_FALSE((*store)->Get(0, KeyOf(0), Blocking::kMayBlock)->has_value());
  EXPECT_TRUE((*store)->Get(0, KeyOf(499), Blocking::kMayBlock)->has_value());
}

// Runs in a process of its own, started by the test below, so that only its memory is counted.
TEST(RocksStoreTest, DISABLED_TwoStoresInAProcessOfTheirOwn) {
  TempDir first;
  TempDir second;
  RocksOptions options = OptionsOf(first, true);
  for (int i = 0; i < 8; ++i) options.families.push_back("more" + std::to_string(i));
  const auto one = OpenRocksStore(options);
  options.directory = second.path();
  const auto two = OpenRocksStore(options);
  ASSERT_TRUE(one.has_value() && two.has_value());
  for (int i = 0; i < 100; ++i) {
    PutNumber(one->get(), i);
    PutNumber(two->get(), i);
  }
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  statm >> size >> resident;
  const uint64_t bytes = resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::cout << "resident MiB: " << (bytes >> 20) << "\n";
  EXPECT_LT(bytes, 48U << 20);
}

TEST(RocksStoreTest, TwoIdleStoresStaySmall) {
  const std::string self = fs::read_symlink("/proc/self/exe");
  const std::string command =
      "'" + self + "' --gtest_also_run_disabled_tests --gtest_filter='*TwoStoresInAProcess*'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace sheen::kv
