#include "mds/dependencies.h"

#include <gtest/gtest.h>

namespace sheen::mds {
namespace {

TEST(DependenciesTest, OnlyOthersUncommittedChangesCount) {
  Dependencies rows;
  rows.Note({10, 11}, 1, 5, 0);
  rows.Note({11}, 2, 6, 0);
  EXPECT_EQ(rows.Foreign({10}, 1, 0), 0U);
  EXPECT_EQ(rows.Foreign({10}, 2, 0), 5U);
  EXPECT_EQ(rows.Foreign({10, 11, 12}, 3, 0), 6U);
  EXPECT_EQ(rows.Foreign({11}, 1, 6), 0U);
}

TEST(DependenciesTest, PruningForgetsNothingThatIsNotCommitted) {
  Dependencies rows;
  for (uint64_t i = 1; i <= 100'000; ++i) rows.Note({i}, 1, i, i > 500 ? i - 500 : 0);
  for (uint64_t i = 100'000 - 499; i <= 100'000; ++i) {
    EXPECT_EQ(rows.Foreign({i}, 2, 100'000 - 500), i);
  }
}

}  // namespace
}  // namespace sheen::mds
