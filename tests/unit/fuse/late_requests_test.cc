#include "fuse/late_requests.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "fuse/caller.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

std::vector<std::byte> Message(uint64_t node, const std::string& rest) {
  fuse_in_header header{};
  header.nodeid = node;
  std::vector<std::byte> out(sizeof header + rest.size());
  std::memcpy(out.data(), &header, sizeof header);
  std::memcpy(out.data() + sizeof header, rest.data(), rest.size());
  return out;
}

TEST(LateRequests, ARenameIsAboutBothDirectoriesAndNames) {
  fuse_rename2_in in{};
  in.newdir = 9;
  std::string rest(reinterpret_cast<const char*>(&in), sizeof in);
  rest += std::string("old\0new\0", 8);
  const Subject subject = SubjectOf(FUSE_RENAME2, Message(7, rest));
  EXPECT_EQ(subject.nodes[0], 7u);
  EXPECT_EQ(subject.nodes[1], 9u);
  EXPECT_EQ(subject.names[0], "old");
  EXPECT_EQ(subject.names[1], "new");
  // However short a message is, nothing beyond it is read.
  for (size_t bytes = 0; bytes < rest.size(); ++bytes) {
    (void)SubjectOf(FUSE_RENAME2, Message(7, rest.substr(0, bytes)));
  }
}

TEST(LateRequests, ChangesWaitForChangesAndClosingForAll) {
  LateRequests late;
  const Subject file = SubjectOf(FUSE_WRITE, Message(7, ""));
  const Subject other = SubjectOf(FUSE_WRITE, Message(8, ""));
  EXPECT_FALSE(late.Any());
  late.Begin(file, /*changes=*/false);
  EXPECT_TRUE(late.Any());
  EXPECT_FALSE(late.Hold(file, Overtaking::kWaits));
  EXPECT_TRUE(late.Hold(file, Overtaking::kDeferred));
  late.Begin(file, /*changes=*/true);
  EXPECT_TRUE(late.Hold(file, Overtaking::kWaits));
  EXPECT_FALSE(late.Hold(file, Overtaking::kAllowed));
  EXPECT_FALSE(late.Hold(other, Overtaking::kWaits));
  late.End(file, /*changes=*/true);
  EXPECT_FALSE(late.Hold(file, Overtaking::kWaits));
  late.End(file, /*changes=*/false);
  EXPECT_FALSE(late.Hold(file, Overtaking::kDeferred));
  EXPECT_FALSE(late.Any());
}

TEST(LateRequests, OnlyAnOpenThatTruncatesChangesAnything) {
  fuse_open_in in{};
  std::string rest(reinterpret_cast<const char*>(&in), sizeof in);
  EXPECT_EQ(OvertakingOf(FUSE_OPEN, Message(7, rest)), Overtaking::kAllowed);
  in.flags = O_TRUNC | O_WRONLY;
  rest.assign(reinterpret_cast<const char*>(&in), sizeof in);
  EXPECT_EQ(OvertakingOf(FUSE_OPEN, Message(7, rest)), Overtaking::kWaits);
  EXPECT_EQ(OvertakingOf(FUSE_RELEASE, Message(7, "")), Overtaking::kDeferred);
  EXPECT_EQ(OvertakingOf(FUSE_READ, Message(7, "")), Overtaking::kAllowed);
}

TEST(Caller, APendingKillIsSeenInEitherSet) {
  const std::string head = "Name:\tcat\nThreads:\t1\nSigQ:\t0/9\n";
  EXPECT_FALSE(HasKillPending(head + "SigPnd:\t0000000000004000\nShdPnd:\t0000000000000001\n"));
  EXPECT_TRUE(HasKillPending(head + "SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"));
  EXPECT_TRUE(HasKillPending(head + "SigPnd:\t0000000000000000\nShdPnd:\t0000000000004100\n"));
  EXPECT_FALSE(HasKillPending(""));
  EXPECT_FALSE(HasKillPending("Name:\tSigPnd:\n"));
  EXPECT_FALSE(IsBeingKilled(static_cast<uint32_t>(::getpid())));
  EXPECT_FALSE(IsBeingKilled(0));
}

}  // namespace
}  // namespace sheen::fuse
