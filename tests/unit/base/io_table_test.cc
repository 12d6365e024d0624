#include "base/io_table.h"

#include <gtest/gtest.h>

namespace sheen {
namespace {

// Without the three lines of times.
std::string Body(const std::string& text) {
  size_t at = 0;
  for (int i = 0; i < 3; ++i) at = text.find('\n', at) + 1;
  return text.substr(at);
}

TEST(IoTable, RowsEndWithPowersOfTwo) {
  IoTable table({{"pages per rpc"}});
  for (const uint64_t value : {0, 1, 2, 3, 4, 5, 256, 257}) table.Record(0, IoSide::kRead, value);
  table.Record(0, IoSide::kWrite, UINT64_MAX);
  const std::pair<size_t, uint64_t> rows[] = {{0, 2}, {1, 1}, {2, 2}, {3, 1}, {8, 1}, {9, 1}};
  uint64_t seen = 0;
  for (const auto& [row, count] : rows) {
    EXPECT_EQ(table.Count(0, IoSide::kRead, row), count) << row;
    seen += count;
  }
  EXPECT_EQ(seen, 8u);
  EXPECT_EQ(table.Count(0, IoSide::kWrite, IoTable::kRows - 1), 1u);
  EXPECT_EQ(table.BoundOf(0, 8), 256u);
  table.Clear(7);
  EXPECT_EQ(table.Count(0, IoSide::kRead, 0), 0u);
  EXPECT_EQ(table.since_ns(), 7);
}

TEST(IoTable, RpcStatsHaveLustresForm) {
  IoTable table(
      {{"pages per rpc"}, {"rpcs in flight", "rpcs", true}, {"RPC latency (us)", "count"}});
  for (int i = 0; i < 24; ++i) table.Record(1, IoSide::kWrite, 1);
  for (int i = 0; i < 2; ++i) table.Record(1, IoSide::kWrite, 2);
  table.Record(0, IoSide::kRead, 1);
  table.Record(0, IoSide::kWrite, 4);
  EXPECT_EQ(Body(FormatRpcStats(table, "read RPCs in flight:  0\n", 0)),
            "read RPCs in flight:  0\n"
            "\n"
            "\t\t\tread\t\t\twrite\n"
            "pages per rpc         rpcs   % cum % |       rpcs   % cum %\n"
            "1:\t\t         1 100 100   |          0   0   0\n"
            "2:\t\t         0   0 100   |          0   0   0\n"
            "4:\t\t         0   0 100   |          1 100 100\n"
            "\n"
            "\t\t\tread\t\t\twrite\n"
            "rpcs in flight        rpcs   % cum % |       rpcs   % cum %\n"
            "1:\t\t         0   0   0   |         24  92  92\n"
            "2:\t\t         0   0   0   |          2   7 100\n"
            "\n"
            "\t\t\tread\t\t\twrite\n"
            "RPC latency (us)       count   % cum % |       count   % cum %\n");
}

TEST(IoTable, BrwStatsBeginWithTheFirstRowThatHasSomething) {
  IoTable table({{"disk I/O size", "ios"}});
  table.Record(0, IoSide::kWrite, 4096);
  table.Record(0, IoSide::kWrite, 16384);
  table.Record(0, IoSide::kRead, 1 << 20);
  const std::string body = Body(FormatBrwStats(table, 0));
  EXPECT_EQ(body.substr(0, body.find("32K")),
            "\n"
            "                           read      |     write\n"
            "disk I/O size          ios   % cum % |  ios         % cum %\n"
            "4K:\t\t         0   0   0   |    1  50  50\n"
            "8K:\t\t         0   0   0   |    0   0  50\n"
            "16K:\t\t         0   0   0   |    1  50 100\n");
  EXPECT_TRUE(body.ends_with("1M:\t\t         1 100 100   |    0   0 100\n"));
}

}  // namespace
}  // namespace sheen
