// Counting what is done, where it is done: Tally is one quantity (the microseconds that renames
// took, the bytes of reads), TallyTable the quantities of one thing, by name.
//
//   TallyTable stats({{"rename", Unit::kMicros}, {"read_bytes", Unit::kBytes}});
//   stats.Record(kRename, micros);
//   text = FormatStats(stats, now_ns);          // what `lctl get_param mdt.*.md_stats` prints
//
// Thread-safe, without locks: a record is a few relaxed additions. So numbers that are read
// together may differ by what is being recorded, and a Clear() by what comes meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sheen {

// One that only grows, or (Sub) a level.
class Counter final {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  void Sub(uint64_t n = 1) { value_.fetch_sub(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  void Clear() { value_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Counts, sum, extremes, and how often each power of two: bucket i has the values v with
// std::bit_width(v) == i, that is [2^(i-1), 2^i); bucket 0 has the zeros, the last all above.
class Tally final {
 public:
  static constexpr size_t kBuckets = 40;
  struct Values {
    uint64_t samples = 0;
    uint64_t sum = 0;
    uint64_t sum_squares = 0;  // modulo 2^64
    uint64_t min = 0;          // 0 without samples
    uint64_t max = 0;
    std::array<uint64_t, kBuckets> buckets{};
  };

  void Record(uint64_t value);
  Values Read() const;
  uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }
  uint64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  void Clear();

 private:
  std::atomic<uint64_t> samples_{0};
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> sum_squares_{0};
  std::atomic<uint64_t> min_{UINT64_MAX};
  std::atomic<uint64_t> max_{0};
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
};

enum class Unit : uint8_t { kMicros, kBytes, kRequests };

struct TallySpec {
  std::string_view name;  // outlives the table
  Unit unit = Unit::kMicros;
};

class TallyTable final {
 public:
  TallyTable(std::initializer_list<TallySpec> specs);
  explicit TallyTable(std::vector<TallySpec> specs);

  // REQUIRES: index < size().
  void Record(size_t index, uint64_t value) { tallies_[index].Record(value); }
  size_t size() const { return specs_.size(); }
  const TallySpec& spec(size_t index) const { return specs_[index]; }
  const Tally& tally(size_t index) const { return tallies_[index]; }
  // Wall clock, nanoseconds: of the making or the last Clear().
  int64_t since_ns() const { return since_ns_.load(std::memory_order_relaxed); }
  void Clear(int64_t now_ns);

 private:
  const std::vector<TallySpec> specs_;
  const std::unique_ptr<Tally[]> tallies_;
  std::atomic<int64_t> since_ns_;
};

// Lustre's form: times, then a line for each name that has samples.
std::string FormatStats(const TallyTable& table, int64_t now_ns);
// The same of several tables, in their order; times are the first's. Names should differ.
std::string FormatStats(const std::vector<const TallyTable*>& tables, int64_t now_ns);

}  // namespace sheen
