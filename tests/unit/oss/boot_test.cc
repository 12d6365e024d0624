// The number by which clients tell the lives of an OSS with several targets apart.
#include <gtest/gtest.h>

#include "oss/service.h"
#include "support/ost_world.h"

namespace sheen::oss {
namespace {

using test::OstWorld;

// OST index 5 on the disk of `world`, served by its shard.
class SecondTarget final {
 public:
  explicit SecondTarget(OstWorld* world) : world_(world) {
    world->files.MakeDurableDirectory(kDirectory);
    ost::FormatOptions format;
    format.directory = kDirectory;
    format.fsname = "sheen";
    format.ost_index = 5;
    const auto store = kv::OpenMemoryStore(&disk_);
    io::MemoryFileIo files(&world->files, &world->shard);
    const auto formatted = world->Run(ost::Format(&files, store.get(), format));
    EXPECT_TRUE(formatted) << (formatted ? "" : formatted.error().ToString());
  }
  void Start() {
    store_ = kv::OpenMemoryStore(&disk_);
    ost::OpenOptions open = world_->Options();
    open.directory = kDirectory;
    open.index = store_.get();
    auto opened = world_->Run(ost::Target::Open(world_->io.get(), std::move(open)));
    ASSERT_TRUE(opened) << opened.error().ToString();
    target = std::move(*opened);
  }
  // With the machine: before the world's.
  void PowerCut() {
    target.reset();
    store_.reset();
    disk_.PowerCut(0);
  }

  std::unique_ptr<ost::Target> target;

 private:
  static constexpr const char* kDirectory = "/ost5";
  OstWorld* const world_;
  kv::MemoryDisk disk_{ost::IndexFamilies().size()};
  std::unique_ptr<kv::Store> store_;
};

uint64_t BootOf(OstWorld* world, const std::map<uint32_t, ost::Target*>& targets) {
  OssService service;
  for (const auto& [index, target] : targets) service.AddTarget(index, target);
  service.RegisterShard(&world->shard, world->io.get());
  const uint64_t boot = service.Boot();
  const auto sessions = world->Run(service.LoadSessions());
  EXPECT_TRUE(sessions) << (sessions ? "" : sessions.error().ToString());
  EXPECT_EQ(service.Boot(), boot);
  return boot;
}

// The target that has been started most often is left out after a power cut.
TEST(BootTest, IsANewAndHigherOneWhicheverTargetsItIsStartedWith) {
  OstWorld world;
  for (int i = 0; i < 6; ++i) {
    world.Start();
    world.PowerCut();
  }
  SecondTarget second(&world);
  world.Start();
  second.Start();
  ASSERT_LT(second.target->boot(), world.target->boot());
  const uint64_t both = BootOf(&world, {{3, world.target.get()}, {5, second.target.get()}});
  EXPECT_EQ(both, world.target->boot());
  second.PowerCut();
  world.PowerCut();
  world.Start();  // its disk and shard; the target is not served
  second.Start();
  EXPECT_GT(BootOf(&world, {{5, second.target.get()}}), both);
}

}  // namespace
}  // namespace sheen::oss
