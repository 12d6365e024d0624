// What every kv::Store must do, run over the real thing and the fake.
//
//   struct MyRig { kv::Store* store(); void Restart(); };   // Restart: close and open again
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, KvConformance, MyRig);
//
// A rig's store has kFamilies column families.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "kv/store.h"

namespace sheen::kv {

inline constexpr size_t kConformanceFamilies = 3;

template <class Rig>
class KvConformance : public testing::Test {
 protected:
  Store* store() { return rig_.store(); }

  std::optional<std::string> Get(Family family, const std::string& key) {
    auto value = store()->Get(family, key, Blocking::kMayBlock);
    EXPECT_TRUE(value.has_value()) << value.error().ToString();
    return value.value_or(std::nullopt);
  }
  void Put(Family family, const std::string& key, const std::string& value) {
    Batch batch;
    batch.Put(family, key, value);
    EXPECT_TRUE(store()->Write(batch, Blocking::kMayBlock));
  }
  std::vector<std::pair<std::string, std::string>> Scan(Family family, const std::string& from) {
    std::vector<std::pair<std::string, std::string>> out;
    const auto cursor = store()->NewCursor(family, Blocking::kMayBlock);
    for (cursor->Seek(from); cursor->Valid(); cursor->Next())
      out.emplace_back(cursor->key(), cursor->value());
    EXPECT_TRUE(cursor->status());
    return out;
  }

  Rig rig_;
};

TYPED_TEST_SUITE_P(KvConformance);

TYPED_TEST_P(KvConformance, AbsentKeyIsNoError) {
  EXPECT_EQ(this->Get(0, "nothing"), std::nullopt);
  EXPECT_TRUE(this->Scan(1, "").empty());
}

TYPED_TEST_P(KvConformance, LastPutWinsAndFamiliesAreApart) {
  this->Put(0, "k", "one");
  this->Put(0, "k", "two");
  this->Put(1, "k", "other");
  EXPECT_EQ(this->Get(0, "k"), "two");
  EXPECT_EQ(this->Get(1, "k"), "other");
  EXPECT_EQ(this->Get(2, "k"), std::nullopt);
}

TYPED_TEST_P(KvConformance, OperationsOfABatchApplyInOrder) {
  Batch batch;
  batch.Put(0, "a", "1");
  batch.Delete(0, "a");
  batch.Put(0, "b", "1");
  batch.DeleteRange(0, "a", "c");
  batch.Put(0, "b", "2");
  ASSERT_TRUE(this->store()->Write(batch, Blocking::kMayBlock));
  EXPECT_EQ(this->Get(0, "a"), std::nullopt);
  EXPECT_EQ(this->Get(0, "b"), "2");
}

TYPED_TEST_P(KvConformance, DeleteRangeTakesBeginAndLeavesEnd) {
  for (const char* key : {"a", "b", "c", "d"}) this->Put(0, key, "v");
  Batch batch;
  batch.DeleteRange(0, "b", "d");
  batch.DeleteRange(0, "z", "a");  // empty: does nothing
  batch.DeleteRange(0, "a", "a");
  ASSERT_TRUE(this->store()->Write(batch, Blocking::kMayBlock));
  const auto left = this->Scan(0, "");
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].first, "a");
  EXPECT_EQ(left[1].first, "d");
}

TYPED_TEST_P(KvConformance, KeysAndValuesAreAnyBytes) {
  const std::string key("\0\xff\x80 a\n", 6);
  const std::string value(100'000, '\0');
  this->Put(0, key, value);
  this->Put(0, "empty", "");
  EXPECT_EQ(this->Get(0, key), value);
  EXPECT_EQ(this->Get(0, "empty"), "");
}

TYPED_TEST_P(KvConformance, KeysAreOrderedAsUnsignedBytes) {
  for (const std::string& key : {std::string("\x80", 1), std::string("a"), std::string("\xff\xff"),
                                 std::string("\0", 1), std::string("ab")})
    this->Put(0, key, "v");
  std::vector<std::string> keys;
  for (const auto& [key, value] : this->Scan(0, "")) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{std::string("\0", 1), "a", "ab", std::string("\x80", 1),
                                            "\xff\xff"}));
}

TYPED_TEST_P(KvConformance, SeekFindsTheFirstKeyNotBelow) {
  this->Put(0, "b", "1");
  this->Put(0, "d", "2");
  const auto cursor = this->store()->NewCursor(0, Blocking::kMayBlock);
  cursor->Seek("c");
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->key(), "d");
  cursor->Seek("b");
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->value(), "1");
  cursor->Seek("e");
  EXPECT_FALSE(cursor->Valid());
  EXPECT_TRUE(cursor->status());
}

TYPED_TEST_P(KvConformance, CursorSeesTheStoreAsItWasMade) {
  this->Put(0, "a", "old");
  this->Put(0, "b", "old");
  const auto cursor = this->store()->NewCursor(0, Blocking::kMayBlock);
  this->Put(0, "a", "new");
  this->Put(0, "aa", "new");
  Batch batch;
  batch.Delete(0, "b");
  ASSERT_TRUE(this->store()->Write(batch, Blocking::kMayBlock));
  cursor->Seek("");
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->value(), "old");
  cursor->Next();
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->key(), "b");
  cursor->Next();
  EXPECT_FALSE(cursor->Valid());
}

TYPED_TEST_P(KvConformance, SyncedDataSurvivesARestart) {
  this->Put(0, "a", "1");
  this->Put(2, "b", "2");
  ASSERT_TRUE(this->store()->Sync());
  this->rig_.Restart();
  EXPECT_EQ(this->Get(0, "a"), "1");
  EXPECT_EQ(this->Get(2, "b"), "2");
  this->rig_.Restart();
  EXPECT_EQ(this->Get(0, "a"), "1");
}

TYPED_TEST_P(KvConformance, EmptyBatchAndSyncOfNothingSucceed) {
  EXPECT_TRUE(this->store()->Write(Batch(), Blocking::kNever));
  EXPECT_TRUE(this->store()->Sync());
  EXPECT_TRUE(this->store()->Sync());
}

TYPED_TEST_P(KvConformance, FreshWritesAreReadWithoutBlocking) {
  Batch batch;
  batch.Put(0, "k", "v");
  ASSERT_TRUE(this->store()->Write(batch, Blocking::kNever));
  const auto value = this->store()->Get(0, "k", Blocking::kNever);
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  EXPECT_EQ(*value, "v");
  const auto cursor = this->store()->NewCursor(0, Blocking::kNever);
  cursor->Seek("");
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->value(), "v");
}

TYPED_TEST_P(KvConformance, ApproximateBytesGrowsWithTheData) {
  const uint64_t before = this->store()->ApproximateBytes();
  for (int i = 0; i < 64; ++i) this->Put(0, std::to_string(i), std::string(64 << 10, 'x'));
  EXPECT_GE(this->store()->ApproximateBytes(), before + (2 << 20));
}

TYPED_TEST_P(KvConformance, ReclaimingSpaceChangesNoRow) {
  for (int i = 0; i < 200; ++i) this->Put(0, std::to_string(i), std::string(1000, 'x'));
  Batch batch;
  for (int i = 0; i < 100; ++i) batch.Delete(0, std::to_string(i));
  ASSERT_TRUE(this->store()->Write(batch, Blocking::kMayBlock));
  const auto before = this->Scan(0, "");
  ASSERT_TRUE(this->store()->ReclaimSpace(Reclaim::kLog));
  EXPECT_EQ(this->Scan(0, ""), before);
  ASSERT_TRUE(this->store()->ReclaimSpace(Reclaim::kDeletedRows));
  EXPECT_EQ(this->Scan(0, ""), before);
  ASSERT_TRUE(this->store()->Sync());
  this->rig_.Restart();
  EXPECT_EQ(this->Scan(0, ""), before);
}

TYPED_TEST_P(KvConformance, RandomBatchesMatchAModel) {
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  std::cout << "SHEEN_SEED=" << seed << "\n";
  Random random(seed);
  std::vector<std::map<std::string, std::string>> model(kConformanceFamilies);
  const auto key_of = [&random] { return "key" + std::to_string(random.Below(200)); };
  for (int round = 0; round < 300; ++round) {
    Batch batch;
    for (uint64_t i = random.Below(8); i-- > 0;) {
      const auto family = static_cast<Family>(random.Below(kConformanceFamilies));
      const std::string key = key_of();
      if (random.OneIn(10)) {
        const std::string end = key_of();
        batch.DeleteRange(family, key, end);
        if (key < end)
          model[family].erase(model[family].lower_bound(key), model[family].lower_bound(end));
      } else if (random.OneIn(4)) {
        batch.Delete(family, key);
        model[family].erase(key);
      } else {
        const std::string value(random.Below(3000), static_cast<char>(random.Below(256)));
        batch.Put(family, key, value);
        model[family][key] = value;
      }
    }
    ASSERT_TRUE(this->store()->Write(batch, Blocking::kMayBlock));
    if (random.OneIn(20)) {
      ASSERT_TRUE(this->store()->Sync());
    }
    if (random.OneIn(60)) {
      ASSERT_TRUE(this->store()->Sync());
      this->rig_.Restart();
    }
  }
  for (Family family = 0; family < kConformanceFamilies; ++family) {
    const auto found = this->Scan(family, "");
    EXPECT_EQ((std::map<std::string, std::string>(found.begin(), found.end())), model[family]);
    EXPECT_EQ(found.size(), model[family].size());
  }
}

REGISTER_TYPED_TEST_SUITE_P(KvConformance, AbsentKeyIsNoError, LastPutWinsAndFamiliesAreApart,
                            OperationsOfABatchApplyInOrder, DeleteRangeTakesBeginAndLeavesEnd,
                            KeysAndValuesAreAnyBytes, KeysAreOrderedAsUnsignedBytes,
                            SeekFindsTheFirstKeyNotBelow, CursorSeesTheStoreAsItWasMade,
                            SyncedDataSurvivesARestart, EmptyBatchAndSyncOfNothingSucceed,
                            FreshWritesAreReadWithoutBlocking, ApproximateBytesGrowsWithTheData,
                            ReclaimingSpaceChangesNoRow, RandomBatchesMatchAModel);

}  // namespace sheen::kv
