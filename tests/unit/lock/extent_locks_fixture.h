// A lock table, four owners, and short ways to ask it.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "lock/extent_locks.h"

namespace sheen::lock {

class ExtentLocksFixture : public testing::Test {
 protected:
  static constexpr uint64_t kA = 1, kB = 2, kC = 3, kD = 4;
  using List = std::vector<LockName>;

  ExtentEnqueued Ask(uint64_t owner, uint64_t id, Mode mode, Extent extent) {
    return locks_.Enqueue({{owner, id}, mode, extent}, now_).value();
  }
  ExtentEnqueued AskExactly(uint64_t owner, uint64_t id, Mode mode, Extent extent) {
    return locks_.Enqueue({{owner, id}, mode, extent, 0, true}, now_).value();
  }
  ExtentChanges Cancel(uint64_t owner, uint64_t id) {
    return locks_.Cancel({owner, id}, now_).value();
  }
  template <class T>
  static List Names(const std::vector<T>& entries) {
    List names;
    for (const T& entry : entries) names.push_back(entry.name);
    return names;
  }

  ExtentLocks locks_;
  Nanos now_{std::chrono::seconds(1000)};
};

}  // namespace sheen::lock
