#include "fuse/cpu_list.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "fuse/mount.h"

namespace sheen::fuse {
namespace {

TEST(CountCores, CountsNumbersAndRanges) {
  EXPECT_EQ(CountCores("0").value(), 1u);
  EXPECT_EQ(CountCores("0-1").value(), 2u);
  EXPECT_EQ(CountCores("0-3,8,10-11").value(), 7u);
  EXPECT_EQ(CountCores("0-127").value(), 128u);
}

TEST(CountCores, RefusesWhatIsNoList) {
  for (const char* text : {"", "a", "3-1", "0-", ",", "0,", "0-1x", "99999999", "1;2"}) {
    EXPECT_FALSE(CountCores(text)) << text;
  }
}

TEST(Cores, PossibleCoresCoverThoseInUse) {
  EXPECT_GE(PossibleCores().value(), static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST(Cores, OfABoundThreadIsWhereItIsBound) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &before)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(BoundCore(), core);
    EXPECT_EQ(CoreOfThread(static_cast<uint32_t>(getpid())), core);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(Cores, OfAThreadThatDoesNotExistIsNotKnown) { EXPECT_LT(CoreOfThread(0x7FFFFFFF), 0); }

TEST(MountValue, CommasAndBackslashesAreEscaped) {
  EXPECT_EQ(EscapeMountValue("mgs@tcp:/fs"), "mgs@tcp:/fs");
  EXPECT_EQ(EscapeMountValue("a,b\\c"), "a\\,b\\\\c");
}

}  // namespace
}  // namespace sheen::fuse
