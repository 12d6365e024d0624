// Of one thing that several change at the same time: may a reading show what it shows?
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace sheen::test {

// What one thing (a name, a file's time) has been, by whom and when.
class History final {
 public:
  explicit History(int64_t first) { writes_.push_back({first, Nanos(-2), Nanos(-1)}); }

  size_t Begin(int64_t value, Nanos now) {
    writes_.push_back({value, now, Nanos::max()});
    return writes_.size() - 1;
  }
  void End(size_t write, Nanos now) { writes_[write].end = now; }
  // It has not happened.
  void Undo(size_t write) { writes_[write].value = kNever; }

  // Could a reading from `begin` on have shown `value`?
  bool Explains(int64_t value, Nanos begin) const {
    for (const Write& shown : writes_) {
      if (shown.value == value && !Replaced(shown, begin)) return true;
    }
    return false;
  }

 private:
  static constexpr int64_t kNever = INT64_MIN;
  struct Write {
    int64_t value;
    Nanos begin;
    Nanos end;
  };
  bool Replaced(const Write& shown, Nanos begin) const {
    for (const Write& later : writes_) {
      if (later.value == kNever) continue;
      if (shown.end < later.begin && later.end < begin) return true;
    }
    return false;
  }
  std::vector<Write> writes_;
};

}  // namespace sheen::test
