#include "s3/lister.h"

#include <set>

#include "base/random.h"
#include "s3/key_split.h"
#include "unit/s3/s3_rig.h"

namespace sheen::s3 {
namespace {

uint64_t TestSeed() {
  const char* const given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  std::cout << "SHEEN_SEED=" << seed << "\n";
  return seed;
}

class KeySink final : public ListSink {
 public:
  async::Task<Status> Take(std::vector<ListEntry> entries) override {
    if (fail) co_return Fail(Errc::kNoSpace, "full");
    if (slow) co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(1));
    for (ListEntry& entry : entries) {
      if (!keys.insert(std::move(entry.key)).second) ++doubled;
    }
    co_return Status();
  }
  std::set<std::string> keys;
  uint64_t doubled = 0;
  bool fail = false;
  bool slow = false;
};

// Keys of one shape: what real buckets look like, and what they should not.
std::string RandomKey(Random* random, int shape) {
  static const std::vector<std::string> kPieces{"a",  "b", "/",  "//", " ", "+", "%", "~",    "é",
                                                "日", "😀", "0", "zz", ".", "&", "<", "\x01", "\x7f"};
  std::string out;
  switch (shape) {
    case 0: return "data/" + std::to_string(random->Below(100'000));
    case 1: return std::string(40, 'p') + std::to_string(random->Below(3000));
    case 2:
      for (uint64_t i = random->Below(12) + 1; i > 0; --i) {
        out += kPieces[random->Below(kPieces.size())];
      }
      return out;
    case 3: return std::string(random->Below(900) + 1, 'x');
    case 4:
      return "d" + std::to_string(random->Below(30)) + "/e/f" + std::to_string(random->Below(99));
    default: return Uuid::Random().ToString();
  }
}

class ListerTest : public S3Rig {};

TEST_F(ListerTest, EveryKeyExactlyOnceWhateverTheKeys) {
  Random random(TestSeed());
  for (int round = 0; round < 30; ++round) {
    const int shape = round % 7;  // the last: a mixture
    const std::string bucket = "r" + std::to_string(round);
    s3_stub::Bucket& store = stub_.AddBucket(bucket);
    std::set<std::string> expected;
    KeyDigest digest;
    const uint64_t count = random.Below(1500);
    const std::string prefix = random.OneIn(3) ? "d" : "";
    for (uint64_t i = 0; i < count; ++i) {
      const int kind = shape == 6 ? static_cast<int>(random.Below(6)) : shape;
      const std::string key = RandomKey(&random, kind);
      store.Put(key, {.size = 1});
      if (key.starts_with(prefix) && expected.insert(key).second) digest.Add(key);
    }
    ClientOptions options = Options();
    options.bucket = bucket;
    Make(options, Given("stub-access-key", "stub-secret-key"));
    Lister lister(&client(), {.prefix = prefix,
                              .concurrency = static_cast<uint32_t>(random.Below(20) + 1),
                              .page_keys = static_cast<uint32_t>(random.Below(50) + 1)});
    KeySink sink;
    sink.slow = random.OneIn(2);
    const Result<ListSummary> all = shard_.Await(lister.Run(&sink));
    ASSERT_TRUE(all) << all.error().message();
    EXPECT_TRUE(sink.keys == expected) << "round " << round << ": " << sink.keys.size() << " of "
                                       << expected.size();
    EXPECT_EQ(sink.doubled, 0U) << round;
    EXPECT_EQ(all->digest, digest) << round;
    EXPECT_EQ(all->bytes, digest.count) << round;
  }
}

TEST_F(ListerTest, ManyRequestsAreUnderWayAtOnce) {
  bucket_->Add({.prefix = "train/images/", .count = 60'000, .size = 3, .per_directory = 500});
  stub_.SetLimits({.first_byte = std::chrono::milliseconds(30)});
  KeySink sink;
  Lister lister(&client(), {.concurrency = 16, .page_keys = 250});
  const Nanos begin = SystemClock().Monotonic();
  const Result<ListSummary> all = shard_.Await(lister.Run(&sink));
  Nanos took = SystemClock().Monotonic() - begin;
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->digest.count, 60'000U);
  EXPECT_EQ(sink.keys.size(), 60'000U);
  // One after the other: 240 pages of 30 ms at least. The machine may be busy for a while.
  for (int i = 0; i < 5 && took > std::chrono::milliseconds(5400); ++i) {
    KeySink again;
    Lister second(&client(), {.concurrency = 16, .page_keys = 250});
    const Nanos start = SystemClock().Monotonic();
    ASSERT_TRUE(shard_.Await(second.Run(&again)));
    took = SystemClock().Monotonic() - start;
  }
  EXPECT_LT(took, std::chrono::milliseconds(5400));
  EXPECT_GE(all->cuts, 8U);
  EXPECT_LT(all->probes, 240U);
}

TEST_F(ListerTest, GoesOnOverFaultsAndEndsWithTheFirstError) {
  bucket_->Add({.prefix = "k", .count = 5000});
  stub_.AddFault({.kind = "status", .skip = 3, .times = 5, .value = 503, .code = "SlowDown"});
  stub_.AddFault({.kind = "cut", .skip = 6, .times = 3, .value = 500});
  KeySink sink;
  Lister lister(&client(), {.concurrency = 8, .page_keys = 200});
  const Result<ListSummary> all = shard_.Await(lister.Run(&sink));
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(sink.keys.size(), 5000U);
  sink.fail = true;
  Lister failing(&client(), {.concurrency = 8, .page_keys = 200});
  EXPECT_EQ(CodeOf(shard_.Await(failing.Run(&sink))), Errc::kNoSpace);
  stub_.AddFault({.kind = "status", .skip = 10, .times = 0, .value = 403, .code = "AccessDenied"});
  sink.fail = false;
  Lister refused(&client(), {.concurrency = 8, .page_keys = 200});
  EXPECT_EQ(CodeOf(shard_.Await(refused.Run(&sink))), Errc::kAccess);
}

TEST(KeySplit, CutsLieBetween) {
  Random random(TestSeed());
  for (int i = 0; i < 20'000; ++i) {
    std::string low = RandomKey(&random, static_cast<int>(random.Below(5)));
    std::string high = RandomKey(&random, static_cast<int>(random.Below(5)));
    if (low > high) std::swap(low, high);
    const auto cut = CutBetween(low, high);
    if (cut) {
      EXPECT_LT(low, *cut);
      EXPECT_LT(*cut, high);
      EXPECT_TRUE(CodePoints(*cut));
    }
    const auto points = CodePoints(low);
    ASSERT_TRUE(points);
    EXPECT_EQ(Utf8Of(*points), low);
    EXPECT_GT(CutBehind(*points, random.Below(points->size())), low);
  }
  EXPECT_FALSE(CutBetween("a", "a"));
  EXPECT_FALSE(CodePoints("\xff"));
  EXPECT_FALSE(CodePoints("\xc0\x80"));
  EXPECT_FALSE(CodePoints("\xed\xa0\x80"));
  EXPECT_FALSE(CodePoints("\xf4\x90\x80\x80"));
  EXPECT_FALSE(CodePoints("\xe6\x97"));
}

TEST(KeyDigest, DoesNotDependOnTheOrder) {
  KeyDigest one, other;
  for (const char* key : {"a", "b", "c"}) one.Add(key);
  for (const char* key : {"c", "a", "b"}) other.Add(key);
  EXPECT_EQ(one, other);
  other.Add("a");
  EXPECT_NE(one.hash, other.hash);
}

}  // namespace
}  // namespace sheen::s3
