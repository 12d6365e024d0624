#include "oss/op_stats.h"

#include <gtest/gtest.h>

namespace sheen::oss {
namespace {

TEST(OssOpStats, TheTimeOfAnIoIsWithoutTheWaitForOthersLocks) {
  OpStats stats;
  rpc::Request request;
  request.header.opcode = rpc::Opcode::kOstRead;
  rpc::Response response;
  response.bulk = io::Buffer::Allocate(8192);
  const Nanos disk = std::chrono::milliseconds(3);
  const Nanos locks = std::chrono::milliseconds(700);
  stats.Note(request, response, "sheen-OST0000", locks, locks + disk, 0);
  size_t row = 0;
  while (stats.io().BoundOf(OpStats::kMillis, row) < 3) ++row;
  EXPECT_EQ(stats.io().Count(OpStats::kMillis, IoSide::kRead, row), 1u);
  for (size_t above = row + 1; above < IoTable::kRows; ++above) {
    EXPECT_EQ(stats.io().Count(OpStats::kMillis, IoSide::kRead, above), 0u) << above;
  }
}

}  // namespace
}  // namespace sheen::oss
