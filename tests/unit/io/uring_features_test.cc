#include "io/uring_features.h"

#include <gtest/gtest.h>

namespace sheen::io {
namespace {

TEST(UringFeatures, QuietSuccessesNeedAKernelThatCountsShortSends) {
  constexpr uint32_t kAll = IORING_FEAT_CQE_SKIP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
  constexpr uint32_t kOf61 = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  constexpr uint32_t kOf519 = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  EXPECT_EQ(UsableFeatures(kOf61, kAll), kAll);
  EXPECT_EQ(UsableFeatures(kOf519, kAll), kAll & ~uint32_t{IORING_FEAT_CQE_SKIP});
  EXPECT_EQ(UsableFeatures(0, kAll), kAll & ~uint32_t{IORING_FEAT_CQE_SKIP});
  EXPECT_EQ(UsableFeatures(kOf61, IORING_FEAT_NODROP), uint32_t{IORING_FEAT_NODROP});
}

}  // namespace
}  // namespace sheen::io
