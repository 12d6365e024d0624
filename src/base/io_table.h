// IoTable: how reads and writes are spread over sizes, times and the like, as Lustre's rpc_stats
// and brw_stats show it:
//
//                     read                    write
//   pages per rpc     rpcs   % cum % |        rpcs   % cum %
//   1:                   2  50  50   |           0   0   0
//   2:                   2  50 100   |           7 100 100
//
// Row i of a part in powers of two has the values in (2^(i-1), 2^i], row 0 also the zeros; of a
// linear one the value i + 1. The last row has all above.
//
// Thread-safe, without locks: a record is one relaxed addition.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/stats.h"

namespace sheen {

enum class IoSide : uint8_t { kRead, kWrite };

class IoTable final {
 public:
  static constexpr size_t kRows = 32;
  struct Spec {
    std::string_view title;  // outlives the table, as `counted`
    std::string_view counted = "rpcs";
    bool linear = false;
  };

  explicit IoTable(std::vector<Spec> specs);

  // REQUIRES: part < size().
  void Record(size_t part, IoSide side, uint64_t value);
  size_t size() const { return specs_.size(); }
  const Spec& spec(size_t part) const { return specs_[part]; }
  uint64_t Count(size_t part, IoSide side, size_t row) const;
  // The largest value of the row.
  uint64_t BoundOf(size_t part, size_t row) const;
  // Wall clock, nanoseconds: of the making or the last Clear().
  int64_t since_ns() const { return since_ns_.load(std::memory_order_relaxed); }
  void Clear(int64_t now_ns);

 private:
  struct Part {
    std::array<std::array<Counter, kRows>, 2> sides;  // by IoSide
  };

  const std::vector<Spec> specs_;
  const std::unique_ptr<Part[]> parts_;
  std::atomic<int64_t> since_ns_;
};

// Of a client's requests to an OST. `head`: lines between the times and the parts.
std::string FormatRpcStats(const IoTable& table, const std::string& head, int64_t now_ns);
// Of what an OST did: rows begin with the first that has something, sizes have K and M.
std::string FormatBrwStats(const IoTable& table, int64_t now_ns);

}  // namespace sheen
