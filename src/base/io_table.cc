#include "base/io_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/clock.h"

namespace sheen {
namespace {

std::string TimeLines(const IoTable& table, int64_t now_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t elapsed = std::max<int64_t>(now_ns - table.since_ns(), 0);
  std::string out;
  for (const auto& [name, ns] : {std::pair("snapshot_time:", now_ns),
                                 {"start_time:", table.since_ns()},
                                 {"elapsed_time:", elapsed}}) {
    out += fmt::format("{:<25} {}.{:09} secs.nsecs\n", name, ns / kSecond, ns % kSecond);
  }
  return out;
}

// One row: what is in it, and in it and those before.
struct Cell {
  uint64_t count = 0;
  uint64_t percent = 0;
  uint64_t cumulative = 0;
};
struct Row {
  size_t index = 0;
  Cell read;
  Cell write;
};

uint64_t Percent(uint64_t part, uint64_t total) { return total == 0 ? 0 : 100 * part / total; }

// Up to the last row with something.
std::vector<Row> RowsOf(const IoTable& table, size_t part) {
  std::vector<Row> rows;
  uint64_t totals[2] = {};
  for (size_t i = 0; i < IoTable::kRows; ++i) {
    const Row row{i,
                  {.count = table.Count(part, IoSide::kRead, i)},
                  {.count = table.Count(part, IoSide::kWrite, i)}};
    totals[0] += row.read.count;
    totals[1] += row.write.count;
    rows.push_back(row);
  }
  uint64_t sums[2] = {};
  for (Row& row : rows) {
    sums[0] += row.read.count;
    sums[1] += row.write.count;
    row.read.percent = Percent(row.read.count, totals[0]);
    row.read.cumulative = Percent(sums[0], totals[0]);
    row.write.percent = Percent(row.write.count, totals[1]);
    row.write.cumulative = Percent(sums[1], totals[1]);
  }
  while (!rows.empty() && rows.back().read.count == 0 && rows.back().write.count == 0) {
    rows.pop_back();
  }
  return rows;
}

// "512", "4K", "1M".
std::string Short(uint64_t value) {
  constexpr uint64_t kKibi = 1024;
  if (value >= kKibi * kKibi) return fmt::format("{}M", value / kKibi / kKibi);
  if (value >= kKibi) return fmt::format("{}K", value / kKibi);
  return std::to_string(value);
}

}  // namespace

IoTable::IoTable(std::vector<Spec> specs)
    : specs_(std::move(specs)),
      parts_(std::make_unique<Part[]>(specs_.size())),
      since_ns_(SystemClock().Wall().count()) {}

void IoTable::Record(size_t part, IoSide side, uint64_t value) {
  const uint64_t above = std::max<uint64_t>(value, 1) - 1;
  const uint64_t row = specs_[part].linear ? above : static_cast<uint64_t>(std::bit_width(above));
  parts_[part].sides[static_cast<size_t>(side)][std::min<uint64_t>(row, kRows - 1)].Add();
}

uint64_t IoTable::Count(size_t part, IoSide side, size_t row) const {
  return parts_[part].sides[static_cast<size_t>(side)][row].value();
}

uint64_t IoTable::BoundOf(size_t part, size_t row) const {
  return specs_[part].linear ? row + 1 : uint64_t{1} << row;
}

void IoTable::Clear(int64_t now_ns) {
  for (size_t i = 0; i < specs_.size(); ++i) {
    for (auto& side : parts_[i].sides) {
      for (Counter& row : side) row.Clear();
    }
  }
  since_ns_.store(now_ns, std::memory_order_relaxed);
}

std::string FormatRpcStats(const IoTable& table, const std::string& head, int64_t now_ns) {
  constexpr size_t kTitleWidth = 18;
  std::string out = TimeLines(table, now_ns) + head;
  for (size_t part = 0; part < table.size(); ++part) {
    const IoTable::Spec& spec = table.spec(part);
    out += fmt::format("\n\t\t\tread\t\t\twrite\n{:<{}}{}   % cum % |       {}   % cum %\n",
                       spec.title, kTitleWidth + spec.counted.size(), spec.counted, spec.counted);
    for (const Row& row : RowsOf(table, part)) {
      out += fmt::format("{}:\t\t{:>10} {:>3} {:>3}   | {:>10} {:>3} {:>3}\n",
                         table.BoundOf(part, row.index), row.read.count, row.read.percent,
                         row.read.cumulative, row.write.count, row.write.percent,
                         row.write.cumulative);
    }
  }
  return out;
}

std::string FormatBrwStats(const IoTable& table, int64_t now_ns) {
  std::string out = TimeLines(table, now_ns);
  for (size_t part = 0; part < table.size(); ++part) {
    const IoTable::Spec& spec = table.spec(part);
    out += fmt::format("\n{:26} read      |     write\n{:<22} {:<5} % cum % |  {:<11} % cum %\n",
                       "", spec.title, spec.counted, spec.counted);
    bool begun = false;
    for (const Row& row : RowsOf(table, part)) {
      begun = begun || row.read.count > 0 || row.write.count > 0;
      if (!begun) continue;
      out += fmt::format("{}:\t\t{:>10} {:>3} {:>3}   | {:>4} {:>3} {:>3}\n",
                         Short(table.BoundOf(part, row.index)), row.read.count, row.read.percent,
                         row.read.cumulative, row.write.count, row.write.percent,
                         row.write.cumulative);
    }
  }
  return out;
}

}  // namespace sheen
