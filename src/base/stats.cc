#include "base/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/clock.h"

namespace sheen {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string_view NameOf(Unit unit) {
  switch (unit) {
    case Unit::kMicros:
      return "usecs";
    case Unit::kBytes:
      return "bytes";
    case Unit::kRequests:
      return "reqs";
  }
  return "";
}

std::string TimeLine(std::string_view name, int64_t ns) {
  return fmt::format("{:<25} {}.{:09} secs.nsecs\n", name, ns / kSecond, ns % kSecond);
}

}  // namespace

void Tally::Record(uint64_t value) {
  samples_.fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
  sum_squares_.fetch_add(value * value, std::memory_order_relaxed);
  const size_t bucket = std::min<size_t>(static_cast<size_t>(std::bit_width(value)), kBuckets - 1);
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  uint64_t low = min_.load(std::memory_order_relaxed);
  while (value < low && !min_.compare_exchange_weak(low, value, std::memory_order_relaxed)) {
  }
  uint64_t high = max_.load(std::memory_order_relaxed);
  while (value > high && !max_.compare_exchange_weak(high, value, std::memory_order_relaxed)) {
  }
}

Tally::Values Tally::Read() const {
  Values out;
  out.samples = samples_.load(std::memory_order_relaxed);
  out.sum = sum_.load(std::memory_order_relaxed);
  out.sum_squares = sum_squares_.load(std::memory_order_relaxed);
  out.min = out.samples == 0 ? 0 : min_.load(std::memory_order_relaxed);
  out.max = max_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < kBuckets; ++i) {
    out.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  }
  return out;
}

void Tally::Clear() {
  samples_.store(0, std::memory_order_relaxed);
  sum_.store(0, std::memory_order_relaxed);
  sum_squares_.store(0, std::memory_order_relaxed);
  min_.store(UINT64_MAX, std::memory_order_relaxed);
  max_.store(0, std::memory_order_relaxed);
  for (std::atomic<uint64_t>& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
}

TallyTable::TallyTable(std::initializer_list<TallySpec> specs)
    : TallyTable(std::vector<TallySpec>(specs)) {}

TallyTable::TallyTable(std::vector<TallySpec> specs)
    : specs_(std::move(specs)),
      tallies_(std::make_unique<Tally[]>(specs_.size())),
      since_ns_(SystemClock().Wall().count()) {}

void TallyTable::Clear(int64_t now_ns) {
  for (size_t i = 0; i < specs_.size(); ++i) tallies_[i].Clear();
  since_ns_.store(now_ns, std::memory_order_relaxed);
}

std::string FormatStats(const std::vector<const TallyTable*>& tables, int64_t now_ns) {
  const int64_t since_ns = tables.empty() ? now_ns : tables.front()->since_ns();
  std::string out = TimeLine("snapshot_time", now_ns);
  out += TimeLine("start_time", since_ns);
  out += TimeLine("elapsed_time", std::max<int64_t>(now_ns - since_ns, 0));
  for (const TallyTable* table : tables) {
    for (size_t i = 0; i < table->size(); ++i) {
      const Tally::Values values = table->tally(i).Read();
      if (values.samples == 0) continue;
      const TallySpec& spec = table->spec(i);
      fmt::format_to(std::back_inserter(out), "{:<25} {} samples [{}] {} {} {} {}\n", spec.name,
                     values.samples, NameOf(spec.unit), values.min, values.max, values.sum,
                     values.sum_squares);
    }
  }
  return out;
}

std::string FormatStats(const TallyTable& table, int64_t now_ns) {
  return FormatStats(std::vector<const TallyTable*>{&table}, now_ns);
}

}  // namespace sheen
