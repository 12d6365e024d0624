#include "mdt/directory.h"

#include <cstdlib>
#include <map>

#include "base/random.h"
#include "mdt/inode_table.h"
#include "mdt_fixture.h"

namespace sheen::mdt {
namespace {

constexpr Fid kChild{0x200000400, 7, 0};

class DirectoryTest : public MdtFixture {
 protected:
  uint64_t Insert(const std::string& name, uint64_t decided = 0) {
    auto txn = Begin();
    const auto found = FindEntry(*txn, mdt_->hash(), kRootFid, name);
    EXPECT_TRUE(found.has_value() && !found->entry) << name;
    const Dirent entry{.type = 8, .fid = kChild, .name = name};
    const auto cookie =
        InsertEntry(txn.get(), mdt_->hash(), kRootFid, &directory_, *found, entry, decided);
    EXPECT_TRUE(cookie.has_value());
    EXPECT_TRUE(mdt_->Commit(txn.get()).has_value());
    return cookie.value_or(0);
  }
  bool Remove(const std::string& name) {
    auto txn = Begin();
    const auto found = FindEntry(*txn, mdt_->hash(), kRootFid, name);
    if (!found || !found->entry) return false;
    EXPECT_TRUE(RemoveEntry(txn.get(), kRootFid, &directory_, found->cookie).has_value());
    EXPECT_TRUE(mdt_->Commit(txn.get()).has_value());
    return true;
  }
  uint64_t CookieOf(const std::string& name) {
    auto txn = Begin();
    const auto found = FindEntry(*txn, mdt_->hash(), kRootFid, name);
    EXPECT_TRUE(found.has_value());
    return found->entry ? found->cookie : 0;
  }
  // Rows of the directory: names, and how many tombstones.
  std::map<std::string, uint64_t> Rows(uint32_t* tombstones) {
    std::map<std::string, uint64_t> names;
    *tombstones = 0;
    auto txn = Begin();
    const std::string prefix = InodeKey(kRootFid);
    const auto take = [&](std::string_view key, std::string_view value) {
      const auto entry = DecodeDirent(value);
      EXPECT_TRUE(entry.has_value());
      if (entry->tombstone) {
        ++*tombstones;
      } else {
        names[entry->name] = LoadBig64(key.data() + Fid::kKeyBytes);
      }
      return true;
    };
    EXPECT_TRUE(txn->Scan(kDirents, prefix, prefix, take).has_value());
    return names;
  }

  Inode directory_;
};

TEST_F(DirectoryTest, SipHashMatchesTheReferenceVector) {
  // Aumasson and Bernstein, appendix A: key 00..0f, message 00..0e.
  std::array<uint8_t, 16> key;
  std::string message;
  for (uint8_t i = 0; i < 16; ++i) key[i] = i;
  for (char i = 0; i < 15; ++i) message.push_back(i);
  EXPECT_EQ(SipHash(key, message), 0xa129ca6149be45e5ULL);
}

TEST_F(DirectoryTest, HashesLeaveRoomAtBothEnds) {
  const auto low = [](const std::array<uint8_t, 16>&, std::string_view) -> uint64_t { return 0; };
  const auto high = [](const std::array<uint8_t, 16>&, std::string_view) { return UINT64_MAX; };
  EXPECT_GE((NameHash{low, {}}("x")), kCookieMin);
  EXPECT_LE((NameHash{high, {}}("x")), kHashMax);
}

TEST_F(DirectoryTest, CollidingNamesAreAllFoundAndKeepTheirCookies) {
  FormatAndOpen(&ConstantHash);
  const uint64_t a = Insert("a");
  const uint64_t b = Insert("b");
  const uint64_t c = Insert("c");
  EXPECT_EQ(b, a + 1);
  EXPECT_EQ(c, a + 2);
  EXPECT_TRUE(Remove("a"));
  EXPECT_EQ(CookieOf("b"), b);
  EXPECT_EQ(CookieOf("c"), c);
  EXPECT_EQ(CookieOf("a"), 0u);
  EXPECT_EQ(directory_.tombstone_count, 1u);
  EXPECT_EQ(Insert("d"), a) << "a tombstone is used again";
  EXPECT_EQ(directory_.tombstone_count, 0u);
}

TEST_F(DirectoryTest, RemovingTheEndOfARunTakesItsTombstonesAlong) {
  FormatAndOpen(&ConstantHash);
  for (const char* name : {"a", "b", "c"}) Insert(name);
  EXPECT_TRUE(Remove("b"));
  EXPECT_TRUE(Remove("a"));
  EXPECT_EQ(directory_.tombstone_count, 2u);
  EXPECT_TRUE(Remove("c"));
  uint32_t tombstones = 0;
  EXPECT_TRUE(Rows(&tombstones).empty());
  EXPECT_EQ(tombstones, 0u);
  EXPECT_EQ(directory_.tombstone_count, 0u);
  EXPECT_EQ(directory_.entry_count, 0u);
}

TEST_F(DirectoryTest, ADecidedCookieIsTakenAgainAndFoundFromTheHash) {
  FormatAndOpen(&ConstantHash);
  // The first time other names came before it; they are lost.
  EXPECT_EQ(Insert("x", 1003), 1003u);
  EXPECT_EQ(CookieOf("x"), 1003u);
  EXPECT_EQ(directory_.tombstone_count, 3u);
  EXPECT_EQ(Insert("y", 1003), 1000u) << "taken: the usual place";
  EXPECT_EQ(Insert("z", 999), 1001u) << "before the hash: it could not be found";
  EXPECT_EQ(Insert("w", 1000 + kProbeCountMax), 1002u) << "too far";
  for (const char* name : {"x", "y", "z", "w"}) EXPECT_TRUE(Remove(name)) << name;
  uint32_t tombstones = 0;
  EXPECT_TRUE(Rows(&tombstones).empty());
  EXPECT_EQ(tombstones, 0u);
}

TEST_F(DirectoryTest, AFullRunIsNoSpaceAndNotALoop) {
  FormatAndOpen(&ConstantHash);
  auto txn = Begin();
  const Dirent entry{.type = 8, .fid = kChild, .name = "n"};
  for (uint64_t i = 0; i < kProbeCountMax; ++i) {
    ReplaceEntry(txn.get(), kRootFid, 1000 + i, entry);
  }
  ASSERT_TRUE(mdt_->Commit(txn.get()).has_value());
  txn = Begin();
  const auto found = FindEntry(*txn, mdt_->hash(), kRootFid, "other");
  ASSERT_TRUE(found.has_value());
  const auto cookie = InsertEntry(txn.get(), mdt_->hash(), kRootFid, &directory_, *found,
                                  {.type = 8, .fid = kChild, .name = "other"}, 0);
  ASSERT_FALSE(cookie.has_value());
  EXPECT_EQ(cookie.error().code(), Errc::kNoSpace);
}

// Random inserts and removals against a std::map; every name must be found where it was put.
TEST_F(DirectoryTest, RandomChangesAgreeWithAModelUnderACrowdedHash) {
  FormatAndOpen(&CrowdedHash);
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  SCOPED_TRACE("SHEEN_SEED=" + std::to_string(seed));
  Random random(seed);
  std::map<std::string, uint64_t> model;
  for (int step = 0; step < 2000; ++step) {
    const std::string name = "n" + std::to_string(random.Below(24));
    if (model.contains(name)) {
      EXPECT_TRUE(Remove(name));
      model.erase(name);
    } else {
      const uint64_t decided = random.OneIn(4) ? 1000 + random.Below(40) : 0;
      model[name] = Insert(name, decided);
    }
    for (const auto& [known, cookie] : model) ASSERT_EQ(CookieOf(known), cookie) << known;
    uint32_t tombstones = 0;
    ASSERT_EQ(Rows(&tombstones), model);
    ASSERT_EQ(directory_.tombstone_count, tombstones);
    ASSERT_EQ(directory_.entry_count, model.size());
    if (model.empty()) ASSERT_EQ(tombstones, 0u);
  }
}

}  // namespace
}  // namespace sheen::mdt
