#include "io/buffer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace sheen::io {
namespace {

TEST(BufferTest, IsPageAlignedWithAPowerOfTwoCapacity) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}, size_t{65536}, size_t{100000},
        size_t{4} << 20, (size_t{4} << 20) + 1, size_t{64} << 20}) {
    const Buffer buffer = Buffer::Allocate(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0U);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_GE(buffer.capacity(), size);
    EXPECT_GE(buffer.capacity(), 4096U);
    EXPECT_EQ(buffer.capacity() & (buffer.capacity() - 1), 0U);
  }
}

TEST(BufferTest, FreedMemoryOfOneClassIsReused) {
  Buffer first = Buffer::Allocate(100000);
  const std::byte* const memory = first.data();
  first = Buffer();
  const Buffer second = Buffer::Allocate(130000);
  EXPECT_EQ(second.data(), memory);
}

TEST(BufferTest, LiveBuffersNeverOverlap) {
  std::vector<Buffer> live;
  for (int i = 0; i < 200; ++i) {
    live.push_back(Buffer::Allocate(static_cast<size_t>(i) * 1000));
    std::memset(live.back().data(), i, live.back().size());
    if (i % 3 == 0) live.erase(live.begin());
  }
  std::set<const std::byte*> seen;
  for (const Buffer& buffer : live) {
    EXPECT_TRUE(seen.insert(buffer.data()).second);
    for (const std::byte b : buffer.span()) ASSERT_EQ(b, buffer.data()[0]);
  }
}

TEST(BufferTest, MoveLeavesNothingBehind) {
  Buffer from = Buffer::Allocate(10);
  const Buffer to = std::move(from);
  EXPECT_TRUE(from.empty());  // NOLINT: the moved-from state is the claim
  EXPECT_EQ(from.data(), nullptr);
  EXPECT_EQ(to.size(), 10U);
}

TEST(BufferTest, MayBeFreedOnAnotherThread) {
  for (int round = 0; round < 50; ++round) {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 8; ++i) buffers.push_back(Buffer::Allocate(1 << 20));
    std::thread([taken = std::move(buffers)]() mutable { taken.clear(); }).join();
  }
}

TEST(BufferTest, CacheIsBounded) {
  std::vector<Buffer> buffers;
  std::set<const std::byte*> before;
  for (int i = 0; i < 16; ++i) {
    buffers.push_back(Buffer::Allocate(4 << 20));
    before.insert(buffers.back().data());
  }
  buffers.clear();  // 64 MiB freed, 32 MiB kept: 8 buffers
  size_t still_mapped = 0;
  for (const std::byte* memory : before) {
    unsigned char resident = 0;
    if (mincore(const_cast<std::byte*>(memory), 4096, &resident) == 0) ++still_mapped;
  }
  EXPECT_LE(still_mapped, 8U);
}

}  // namespace
}  // namespace sheen::io
