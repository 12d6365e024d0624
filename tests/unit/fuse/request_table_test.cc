#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>

#include "base/random.h"
#include "fuse/fuse_kernel.h"
#include "fuse/request.h"

namespace sheen::fuse {
namespace {

uint64_t Seed() {
  const char* given = std::getenv("SHEEN_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : RandomU64();
}

TEST(RequestTable, FindsExactlyWhatIsIn) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(testing::Message() << "SHEEN_SEED=" << seed);
  Random random(seed);
  RequestTable table;
  std::map<uint64_t, std::unique_ptr<Request>> model;
  for (int step = 0; step < 200'000; ++step) {
    // Even numbers of a small range: many collisions, many that were there before.
    const uint64_t unique = 2 + 2 * random.Below(3000);
    const auto found = model.find(unique);
    if (found == model.end()) {
      EXPECT_EQ(table.Find(unique), nullptr);
      auto request = std::make_unique<Request>();
      request->unique = unique;
      table.Insert(request.get());
      model.emplace(unique, std::move(request));
    } else if (random.OneIn(3)) {
      EXPECT_EQ(table.Find(unique), found->second.get());
    } else {
      EXPECT_EQ(table.Take(unique), found->second.get());
      model.erase(found);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  for (const auto& [unique, request] : model) EXPECT_EQ(table.Take(unique), request.get());
  EXPECT_EQ(table.size(), 0u);
}

TEST(RequestTable, TakeOfWhatIsNotThereChangesNothing) {
  RequestTable table;
  Request request;
  request.unique = 10;
  table.Insert(&request);
  EXPECT_EQ(table.Take(12), nullptr);
  EXPECT_EQ(table.Find(10), &request);
}

template <class Argument>
std::vector<std::byte> Message(const Argument& argument) {
  std::vector<std::byte> out(sizeof(fuse_in_header) + sizeof argument);
  std::memcpy(out.data() + sizeof(fuse_in_header), &argument, sizeof argument);
  return out;
}

TEST(KillSuidgid, IsReadFromEachOperationThatCarriesIt) {
  fuse_write_in write{};
  EXPECT_FALSE(AsksToKillSuidgid(FUSE_WRITE, Message(write)));
  write.write_flags = FUSE_WRITE_KILL_SUIDGID;
  EXPECT_TRUE(AsksToKillSuidgid(FUSE_WRITE, Message(write)));
  fuse_setattr_in setattr{};
  EXPECT_FALSE(AsksToKillSuidgid(FUSE_SETATTR, Message(setattr)));
  setattr.valid = FATTR_SIZE | FATTR_KILL_SUIDGID;
  EXPECT_TRUE(AsksToKillSuidgid(FUSE_SETATTR, Message(setattr)));
  fuse_open_in open{};
  open.open_flags = FUSE_OPEN_KILL_SUIDGID;
  EXPECT_TRUE(AsksToKillSuidgid(FUSE_OPEN, Message(open)));
  fuse_create_in create{};
  create.open_flags = FUSE_OPEN_KILL_SUIDGID;
  EXPECT_TRUE(AsksToKillSuidgid(FUSE_CREATE, Message(create)));
  EXPECT_FALSE(AsksToKillSuidgid(FUSE_READ, Message(write)));
}

TEST(KillSuidgid, ShortMessageIsNotReadBeyondItsEnd) {
  const std::vector<std::byte> header(sizeof(fuse_in_header));
  EXPECT_FALSE(AsksToKillSuidgid(FUSE_WRITE, header));
}

}  // namespace
}  // namespace sheen::fuse
