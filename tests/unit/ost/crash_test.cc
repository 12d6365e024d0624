// What a target holds after its process was killed, or its machine lost power, at any point.
//
// For each operation every window is tried: the process dies before its first call to the disk,
// before its second, and so on until it gets through. Then random operations with random deaths
// against a model.
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <cstdlib>
#include <functional>
#include <map>

#include "base/random.h"
#include "ost/index_record.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr uint64_t kBlock = 4096;

enum class Death { kKill, kPowerCut };

void Die(OstWorld* world, Death death) {
  if (death == Death::kKill) {
    world->Kill();
  } else {
    world->PowerCut();
  }
}

// Calls `body` with a world whose target dies after 0, 1, 2 ... calls, until one survives it all.
// `prepare` runs before the fuse is lit; `act` is what dies; `check` sees the reopened target and
// whether `act` was acknowledged.
struct Window {
  std::function<void(OstWorld*)> prepare;
  std::function<bool(OstWorld*)> act;
  std::function<void(OstWorld*, bool acknowledged)> check;
};

void TryAllWindows(const Window& window, Death death) {
  for (uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(fmt::format("dies after {} calls, {}", calls,
                             death == Death::kKill ? "killed" : "power cut"));
    OstWorld world;
    world.Start();
    window.prepare(&world);
    world.fuse->BlowAfter(calls);
    const bool acknowledged = window.act(&world);
    const bool survived = !world.fuse->blown();
    Die(&world, death);
    world.Start();
    window.check(&world, acknowledged);
    ASSERT_LT(calls, 1000U);
    if (::testing::Test::HasFailure() || survived) return;
  }
}

class CrashTest : public ::testing::TestWithParam<Death> {};

INSTANTIATE_TEST_SUITE_P(Deaths, CrashTest, ::testing::Values(Death::kKill, Death::kPowerCut),
                         [](const auto& info) {
                           return info.param == Death::kKill ? "Kill" : "PowerCut";
                         });

TEST_P(CrashTest, TruncateIsWholeOrNotAtAll) {
  const layout::ObjectId id = ObjectNumber(1);
  const std::string old(3 * kBlock, 'a');
  const Window window{
      .prepare =
          [&](OstWorld* world) {
            ASSERT_TRUE(world->Write(id, 0, old));
            ASSERT_TRUE(world->Commit());
          },
      .act = [&](OstWorld* world) { return world->Truncate(id, 5000).has_value(); },
      .check =
          [&](OstWorld* world, bool acknowledged) {
            const std::string now = world->Contents(id);
            if (acknowledged) {
              EXPECT_EQ(now.size(), 5000U);
            } else {
              EXPECT_TRUE(now.size() == 5000 || now == old) << now.substr(0, 100);
            }
            EXPECT_EQ(now, old.substr(0, now.size()));
          },
  };
  TryAllWindows(window, GetParam());
}

TEST_P(CrashTest, PunchIsWholeOrNotAtAll) {
  const layout::ObjectId id = ObjectNumber(1);
  const std::string old(4 * kBlock, 'a');
  std::string punched = old;
  punched.replace(kBlock, 2 * kBlock, 2 * kBlock, '\0');
  const Window window{
      .prepare =
          [&](OstWorld* world) {
            ASSERT_TRUE(world->Write(id, 0, old));
            ASSERT_TRUE(world->Commit());
          },
      .act =
          [&](OstWorld* world) {
            return world->Allocate(id, kPunch, kBlock, 2 * kBlock).has_value();
          },
      .check =
          [&](OstWorld* world, bool acknowledged) {
            const std::string now = world->Contents(id);
            if (acknowledged) {
              EXPECT_TRUE(now == punched);
            } else {
              EXPECT_TRUE(now == punched || now == old);
            }
          },
  };
  TryAllWindows(window, GetParam());
}

TEST_P(CrashTest, DestroyLeavesNoFileOnceItIsDurable) {
  const layout::ObjectId id = ObjectNumber(1);
  const layout::ObjectId other = ObjectNumber(2);
  const Window window{
      .prepare =
          [&](OstWorld* world) {
            ASSERT_TRUE(world->Write(id, 0, "victim"));
            ASSERT_TRUE(world->Write(other, 0, "bystander"));
            ASSERT_TRUE(world->Commit());
          },
      .act = [&](OstWorld* world) { return world->Destroy({id}).has_value(); },
      .check =
          [&](OstWorld* world, bool acknowledged) {
            const auto attr = world->GetAttr(id);
            const bool exists = attr.has_value() && attr->exists;
            if (!attr) {
              EXPECT_EQ(attr.error().code(), Errc::kStale);
            }
            if (acknowledged) {
              EXPECT_FALSE(exists);
            }
            const auto file = world->Run(world->io->StatPath(ObjectPath("/ost", id)));
            EXPECT_EQ(file.has_value(), exists);
            if (exists) {
              EXPECT_EQ(world->Contents(id), "victim");
            } else {
              EXPECT_EQ(world->Write(id, 0, "late").error().code(), Errc::kStale);
            }
            EXPECT_EQ(world->Contents(other), "bystander");
          },
  };
  TryAllWindows(window, GetParam());
}

TEST_P(CrashTest, CreationIsReadableOrAbsent) {
  const layout::ObjectId id = ObjectNumber(1);
  const Window window{
      .prepare = [](OstWorld*) {},
      .act =
          [&](OstWorld* world) {
            const bool written = world->Write(id, 0, "first").has_value();
            return world->Commit().has_value() && written;
          },
      .check =
          [&](OstWorld* world, bool acknowledged) {
            const std::string now = world->Contents(id);
            if (acknowledged) {
              EXPECT_EQ(now, "first");
            } else {
              EXPECT_TRUE(now.empty() || now == "first") << now;
            }
            EXPECT_TRUE(world->Write(id, 0, "again"));
            EXPECT_EQ(world->Contents(id), "again");
          },
  };
  TryAllWindows(window, GetParam());
}

TEST(CrashTest, KilledProcessLosesNoAcknowledgedWrite) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(world.Write(id, 0, "abc"));
  ASSERT_TRUE(world.Write(id, 3, "def"));
  world.Kill();
  world.Start();
  EXPECT_EQ(world.Contents(id), "abcdef");
  EXPECT_EQ(world.target->boot(), 2U);
}

// A truncate that was done must not be done again over what was written after it.
TEST(CrashTest, KillAfterTruncateAndGrowthKeepsTheGrowth) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(world.Write(id, 0, std::string(10000, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Truncate(id, 10));
  ASSERT_TRUE(world.Write(id, 10, "tail"));
  world.Kill();
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(10, 'a') + "tail");
  world.Kill();  // and the start itself has not made anything worse
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(10, 'a') + "tail");
}

// The row that says "done" may reach the disk before the truncation itself does.
TEST(CrashTest, PowerCutRedoesATruncateThatTheIndexCallsDone) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(world.Write(id, 0, std::string(10000, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Truncate(id, 10));
  world.PowerCut(world.disk.unsynced_batches());
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(10, 'a'));
}

TEST(CrashTest, KillAfterPunchAndWriteKeepsTheWrite) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(world.Write(id, 0, std::string(2 * kBlock, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Allocate(id, kPunch, 0, kBlock));
  ASSERT_TRUE(world.Write(id, 0, "new"));
  world.Kill();
  world.Start();
  EXPECT_EQ(world.Contents(id).substr(0, 4), std::string("new\0", 4));
}

// The object was made by a process that died before it synced the directory.
TEST(CrashTest, ObjectOfAKilledProcessSurvivesAPowerCutOnceItIsCommitted) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(world.Write(id, 0, "abc"));
  world.Kill();
  world.Start();
  ASSERT_TRUE(world.Write(id, 3, "def"));
  ASSERT_TRUE(world.Commit());
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(id), "abcdef");
}

TEST(CrashTest, RecoveredTransnoIsWhatWasCommitted) {
  OstWorld world;
  world.Start();
  const auto first = world.Write(ObjectNumber(1), 0, "a");
  ASSERT_TRUE(first);
  ASSERT_TRUE(world.Commit());
  const auto second = world.Write(ObjectNumber(1), 1, "b");
  ASSERT_TRUE(second);
  EXPECT_EQ(world.target->last_committed(), first->transno);
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.target->recovered_transno(), first->transno);
  const auto third = world.Write(ObjectNumber(1), 0, "c");
  ASSERT_TRUE(third);
  EXPECT_GT(third->transno, second->transno);  // numbers never come again
}

// ---- random operations against a model ----

// What an object may look like: every state since the last commit (or, after a kill, the last two).
class Model {
 public:
  struct Object {
    std::vector<std::string> states{""};
    bool destroyed = false;         // acknowledged
    bool may_be_destroyed = false;  // asked for
    bool committed = false;         // ever
    std::string history;            // for the message of a failure
  };

  Object& of(uint32_t number) { return objects_[number]; }
  void Commit() {
    for (auto& [number, object] : objects_) {
      object.history += "commit\n";
      object.committed |= !object.states.back().empty();
      if (object.committed) object.states = {object.states.back()};
    }
  }
  // After a restart: what was found is the only state. But what two power cuts took from an object
  // that was never committed may come back with the second.
  void Settle(uint32_t number, std::string contents) {
    Object& object = objects_[number];
    if (object.committed) object.states.clear();
    object.states.push_back(std::move(contents));
  }

 private:
  std::map<uint32_t, Object> objects_;
};

constexpr uint32_t kObjects = 4;
constexpr uint64_t kModelBytes = 6 * kBlock;

struct Step {
  uint32_t number = 0;
  std::string next;  // contents after it
  std::string text;
  std::function<bool(OstWorld*)> act;
};

Step RandomStep(Random* random, const std::string& now, uint32_t number, int serial) {
  const layout::ObjectId id = ObjectNumber(number);
  const uint64_t offset = random->Below(kModelBytes);
  Step step{number, now, {}};
  switch (random->Below(5)) {
    case 0: {
      const uint64_t size = random->Below(kModelBytes);
      step.next.resize(size, '\0');
      step.text = fmt::format("truncate {}", size);
      step.act = [=](OstWorld* world) { return world->Truncate(id, size, true).has_value(); };
      return step;
    }
    case 1: {
      const uint64_t begin = offset / kBlock * kBlock;
      const uint64_t end = std::min<uint64_t>(begin + kBlock, now.size());
      step.text = fmt::format("punch {} {}", begin, kBlock);
      if (begin < end) step.next.replace(begin, end - begin, end - begin, '\0');
      step.act = [=](OstWorld* world) {
        return world->Allocate(id, kPunch, begin, kBlock).has_value();
      };
      return step;
    }
    default: {
      // One value per object and step: a byte of another object or step is recognised.
      const char value = static_cast<char>(1 + number * 60 + static_cast<uint32_t>(serial) % 60);
      const uint64_t length = 1 + random->Below(2 * kBlock);
      step.text = fmt::format("write {} {} of {}", offset, length, static_cast<int>(value));
      if (step.next.size() < offset + length) step.next.resize(offset + length, '\0');
      step.next.replace(offset, length, length, value);
      step.act = [=](OstWorld* world) {
        return world->Write(id, offset, std::string(length, value)).has_value();
      };
      return step;
    }
  }
}

// Each byte must be that of one of the states at this place; a byte that some state does not have
// may read as zero.
void ExpectFromStates(const std::string& found, const std::vector<std::string>& states) {
  size_t size_min = SIZE_MAX;
  size_t size_max = 0;
  for (const std::string& state : states) {
    size_min = std::min(size_min, state.size());
    size_max = std::max(size_max, state.size());
  }
  ASSERT_GE(found.size(), size_min);
  ASSERT_LE(found.size(), size_max);
  for (size_t i = 0; i < found.size(); ++i) {
    bool known = false;
    for (const std::string& state : states) {
      known |= found[i] == (i < state.size() ? state[i] : '\0');
    }
    ASSERT_TRUE(known) << "byte " << i << " is " << static_cast<int>(found[i]);
  }
}

uint64_t Seed() {
  const char* text = std::getenv("SHEEN_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : RandomU64();
}

void RunLife(OstWorld* world, Random* random, Model* model, int* serial) {
  world->fuse->BlowAfter(random->Below(120));
  for (int i = 0; i < 40 && !world->fuse->blown(); ++i) {
    if (random->OneIn(6)) {
      if (world->Commit()) model->Commit();
      continue;
    }
    const auto number = static_cast<uint32_t>(random->Below(kObjects));
    Model::Object& object = model->of(number);
    if (object.may_be_destroyed) continue;
    if (random->OneIn(15)) {
      object.may_be_destroyed = true;
      object.destroyed = world->Destroy({ObjectNumber(number)}).has_value();
      continue;
    }
    Step step = RandomStep(random, object.states.back(), number, ++*serial);
    const bool acknowledged = step.act(world);
    // Punching what does not exist makes nothing.
    object.states.push_back(step.next);
    object.history += fmt::format("{}{}\n", step.text, acknowledged ? "" : " (died)");
    if (!acknowledged) break;
  }
}

void CheckLife(OstWorld* world, Model* model, bool killed) {
  for (uint32_t number = 0; number < kObjects; ++number) {
    SCOPED_TRACE(fmt::format("object {}", number));
    Model::Object& object = model->of(number);
    const auto probe = world->Read(ObjectNumber(number), 0, 1);
    const bool gone = !probe && probe.error().code() == Errc::kStale;
    const std::string found = gone ? "" : world->Contents(ObjectNumber(number));
    object.history += fmt::format("{}, {} bytes\n", killed ? "kill" : "power cut", found.size());
    SCOPED_TRACE(object.history);
    if (object.destroyed) {
      ASSERT_TRUE(gone) << found;
      continue;
    }
    std::vector<std::string> allowed = object.states;
    // A killed process loses nothing acknowledged: the last state, or the one before it when the
    // last was not answered.
    if (killed && allowed.size() > 2) allowed.erase(allowed.begin(), allowed.end() - 2);
    ASSERT_TRUE(!gone || object.may_be_destroyed);
    if (!gone) ExpectFromStates(found, allowed);
    model->Settle(number, found);
    object.destroyed = gone;
  }
}

TEST(CrashTest, RandomDeathsNeverGiveBytesThatWereNotWrittenThere) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(fmt::format("SHEEN_SEED={}", seed));
  Random random(seed);
  for (int round = 0; round < 60; ++round) {
    OstWorld world({.open_objects_max = 2});
    Model model;
    int serial = 0;
    for (int life = 0; life < 5; ++life) {
      SCOPED_TRACE(fmt::format("round {} life {}", round, life));
      world.Start();
      RunLife(&world, &random, &model, &serial);
      const bool killed = random.OneIn(2);
      if (killed) {
        world.Kill();
      } else {
        world.TornPowerCut(&random);
      }
      world.Start();
      CheckLife(&world, &model, killed);
      // A restart makes nothing durable that was not: start the next life from a commit.
      ASSERT_TRUE(world.Commit());
      world.Close();
      if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace sheen::ost
