#include "apps/lfs/device.h"

#include <gtest/gtest.h>

#include "support/layout_random.h"

namespace sheen::lfs {
namespace {

constexpr Fid kFid{0x200000401, 0x6, 0};

// A client daemon's side of the long answers: bytes of a layout, or entries, `step` at a time.
struct FakeDaemon {
  std::string layout_bytes;
  std::vector<std::string> paths;
  std::vector<v1::TargetSpace> targets;
  uint32_t step = 1;
  uint64_t stamp = 7;
  int changes = 0;  // how often the layout still changes between two chunks
  int calls = 0;

  Status Answer(unsigned long command, IoctlMessage* message) {
    ++calls;
    if (const int bad = CheckIoctl(message, sizeof *message); bad != 0)
      return FailErrno(bad, "check");
    message->fid_seq = kFid.seq;
    message->fid_oid = kFid.oid;
    message->data_bytes = 0;
    std::string data;
    if (command == kIoctlGetLayout) {
      if (message->index > 0 && changes > 0) {
        --changes;
        ++stamp;
      }
      message->stamp = stamp;
      message->total = static_cast<uint32_t>(layout_bytes.size());
      data = layout_bytes.substr(message->index, kIoctlDataBytes);
      message->count = static_cast<uint32_t>(data.size());
    } else if (command == kIoctlFidToPath) {
      message->total = static_cast<uint32_t>(paths.size());
      message->count = std::min(step, message->total - message->index);
      for (uint32_t i = 0; i < message->count; ++i) data += paths[message->index + i] + '\0';
    } else if (command == kIoctlStatFsTargets) {
      message->total = static_cast<uint32_t>(targets.size());
      message->count = std::min(step, message->total - message->index);
      v1::StatFsReply reply;
      for (uint32_t i = 0; i < message->count; ++i)
        *reply.add_targets() = targets[message->index + i];
      data = reply.SerializeAsString();
    }
    message->data_bytes = static_cast<uint32_t>(data.size());
    std::memcpy(message->data, data.data(), data.size());
    return {};
  }
  Device device() {
    return Device(
        [this](unsigned long command, IoctlMessage* message) { return Answer(command, message); });
  }
};

layout::Layout LongLayout() {
  Random random(1);
  layout::Layout layout;
  layout.composite = true;
  for (uint64_t i = 0; i < 6; ++i) {
    layout::Component component;
    component.id = static_cast<uint32_t>(i) + 1;
    component.start = i << 30;
    component.end = (i + 1) << 30;
    layout::InstantiateForTest(&component, 2000, &random);
    layout.components.push_back(component);
  }
  return layout;
}

TEST(LfsDeviceTest, LongLayoutsAreReadInChunks) {
  const layout::Layout layout = LongLayout();
  FakeDaemon daemon{.layout_bytes = layout::Encode(layout)};
  const auto shown = daemon.device().GetLayout(false);
  ASSERT_TRUE(shown.has_value()) << shown.error().ToString();
  EXPECT_EQ(shown->layout, layout);
  EXPECT_EQ(shown->fid, kFid);
  EXPECT_EQ(daemon.calls, 4);
}

TEST(LfsDeviceTest, ALayoutThatChangesMeanwhileIsReadAgainFromItsStart) {
  const layout::Layout layout = LongLayout();
  FakeDaemon daemon{.layout_bytes = layout::Encode(layout), .changes = 2};
  const auto shown = daemon.device().GetLayout(false);
  ASSERT_TRUE(shown.has_value()) << shown.error().ToString();
  EXPECT_EQ(shown->layout, layout);
  daemon.changes = 1 << 20;
  EXPECT_EQ(daemon.device().GetLayout(false).error().code(), Errc::kAgain);
}

TEST(LfsDeviceTest, AFileMayHaveNoLayout) {
  FakeDaemon daemon;
  const auto shown = daemon.device().GetLayout(false);
  ASSERT_TRUE(shown.has_value());
  EXPECT_TRUE(shown->layout.empty());
  EXPECT_EQ(shown->fid, kFid);
}

TEST(LfsDeviceTest, PathsAndTargetsAreGatheredOverManyCalls) {
  FakeDaemon daemon{.paths = {"a/b", "", std::string(5000, 'x')}, .step = 2};
  for (uint32_t i = 0; i < 5; ++i) {
    v1::TargetSpace target;
    target.set_index(i);
    daemon.targets.push_back(target);
  }
  const auto paths = daemon.device().FidToPath(kFid);
  ASSERT_TRUE(paths.has_value());
  EXPECT_EQ(*paths, daemon.paths);
  const auto targets = daemon.device().Targets();
  ASSERT_TRUE(targets.has_value());
  ASSERT_EQ(targets->size(), 5U);
  EXPECT_EQ((*targets)[4].index(), 4U);
}

TEST(LfsDeviceTest, AnswersThatMakeNoSenseAreRefused) {
  const std::vector<std::function<void(IoctlMessage*)>> spoilers = {
      [](IoctlMessage* m) { m->data_bytes = kIoctlDataBytes + 1; },
      [](IoctlMessage* m) { m->count = m->total + 1; },
      [](IoctlMessage* m) { m->count = 0; },
      [](IoctlMessage* m) { m->data[m->data_bytes - 1] = 'x'; },
      [](IoctlMessage* m) { m->data_bytes -= 1; },
  };
  for (const auto& spoil : spoilers) {
    FakeDaemon daemon{.paths = {"a", "b"}, .step = 2};
    const Device device([&](unsigned long command, IoctlMessage* message) {
      const Status status = daemon.Answer(command, message);
      spoil(message);
      return status;
    });
    const auto paths = device.FidToPath(kFid);
    ASSERT_FALSE(paths.has_value());
    EXPECT_EQ(paths.error().code(), Errc::kProtocol);
  }
}

TEST(LfsDeviceTest, AnotherFilesystemThatKnowsTheNumberIsNoSheen) {
  const Device device([](unsigned long, IoctlMessage* message) -> Status {
    message->magic = 0;
    return {};
  });
  EXPECT_EQ(device.GetFid().error().code(), Errc::kNotTty);
}

TEST(LfsDeviceTest, NameAndTemplateTravelTogether) {
  const layout::Layout wanted = layout::DefaultTemplate();
  std::string name;
  std::string bytes;
  uint32_t mode = 0;
  const Device device([&](unsigned long command, IoctlMessage* message) -> Status {
    EXPECT_EQ(command, kIoctlCreateWithLayout);
    EXPECT_EQ(CheckIoctl(message, sizeof *message), 0);
    name.assign(message->data, message->name_bytes);
    bytes.assign(message->data + message->name_bytes, message->data_bytes - message->name_bytes);
    mode = message->mode;
    return {};
  });
  ASSERT_TRUE(device.CreateWithLayout("file", 0640, wanted).has_value());
  EXPECT_EQ(name, "file");
  EXPECT_EQ(mode, 0640U);
  EXPECT_EQ(*layout::Decode(bytes), wanted);
}

}  // namespace
}  // namespace sheen::lfs
