// OriginStats: what was done for whom. Quantities by name, as TallyTable's, for each origin: the id
// of a job, the number of a user.
//
//   OriginStats jobs({{"open"}, {"read_bytes", Unit::kBytes}});
//   jobs.Record("4711", kOpen, micros, now_ns);
//   text = jobs.Yaml("job_id", now_ns);           // Lustre's job_stats
//
// Bounded: origins that did nothing for the cleanup interval go, and where there are too many the
// one that did nothing for longest.
//
// Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/stats.h"

namespace sheen {

class OriginStats final {
 public:
  static constexpr size_t kOriginsMax = 1024;

  explicit OriginStats(std::vector<TallySpec> specs) : specs_(std::move(specs)) {}

  // `now_ns`: wall clock, as everywhere here. REQUIRES: index < number of specs.
  void Record(std::string_view origin, size_t index, uint64_t value, int64_t now_ns);

  struct Sums {
    uint64_t samples = 0;
    uint64_t min = 0;
    uint64_t max = 0;
    uint64_t sum = 0;
    uint64_t sum_squares = 0;  // modulo 2^64
  };
  struct Origin {
    std::string name;
    int64_t since_ns = 0;
    int64_t last_ns = 0;
    std::vector<Sums> sums;  // by spec
  };
  // By name.
  std::vector<Origin> All(int64_t now_ns) const;
  const std::vector<TallySpec>& specs() const { return specs_; }
  std::string Yaml(std::string_view key, int64_t now_ns) const;
  // One, or with an empty name (or "clear") all.
  void Clear(const std::string& origin);

  // Lustre's job_cleanup_interval; 0: they stay.
  uint64_t cleanup_seconds() const { return cleanup_seconds_.load(std::memory_order_relaxed); }
  void set_cleanup_seconds(uint64_t seconds) { cleanup_seconds_.store(seconds); }

 private:
  static constexpr size_t kStripes = 16;
  struct Stripe {
    mutable std::mutex mutex;  // guards origins
    std::unordered_map<std::string, Origin> origins;
  };
  bool Expired(const Origin& origin, int64_t now_ns) const;
  void MakeRoom(Stripe* stripe, int64_t now_ns) const;

  const std::vector<TallySpec> specs_;
  std::array<Stripe, kStripes> stripes_;
  std::atomic<uint64_t> cleanup_seconds_{600};
};

}  // namespace sheen
