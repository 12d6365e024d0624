#include "apps/common/local_daemons.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace sheen::apps {
namespace {

// A line of /proc/net/tcp or tcp6.
std::string Line(const std::string& local, const std::string& state, const std::string& inode) {
  return "   0: " + local + " 00000000:0000 " + state +
         " 00000000:00000000 00:00000000 00000000     0        0 " + inode + " 1\n";
}

TEST(LocalDaemonsTest, ListeningSocketsOfTheProcessAreItsAddressesOnce) {
  const std::vector<std::string> inodes = {"111", "112", "113", "114", "115", "116"};
  using Addresses = std::vector<rpc::Address>;
  const std::string tcp = "  sl  local_address rem_address   st ...\n" +
                          Line("0100007F:1F34", "0A", "111") + Line("0100007F:1F34", "0A", "112") +
                          Line("00000000:1F35", "0A", "113") + Line("0100007F:1F34", "01", "114") +
                          Line("0200000A:1F36", "0A", "999") + "   5: short\n";
  const std::string tcp6 = Line("00000000000000000000000001000000:1F37", "0A", "115") +
                           Line("00000000000000000000000000000000:1F38", "0A", "116");
  EXPECT_EQ(ListeningAddresses(tcp, inodes), (Addresses{{"127.0.0.1", 7988}, {"127.0.0.1", 7989}}));
  EXPECT_EQ(ListeningAddresses(tcp6, inodes), (Addresses{{"::1", 7991}, {"127.0.0.1", 7992}}));
  EXPECT_EQ(ListeningAddresses(tcp, {}), Addresses());
}

TEST(LocalDaemonsTest, ValuesAreFoundInBothSpellings) {
  LocalDaemon daemon;
  daemon.words = {"/usr/bin/sheen-oss", "--target",     "/a,/b",
                  "--target=/c",        "--targets=/d", "--target"};
  EXPECT_EQ(daemon.Values("target"), (std::vector<std::string>{"/a", "/b", "/c"}));
  EXPECT_TRUE(daemon.Values("log").empty());
}

TEST(LocalDaemonsTest, ThisProgramIsNoDaemon) {
  for (const LocalDaemon& daemon : FindLocalDaemons()) EXPECT_NE(daemon.pid, ::getpid());
}

}  // namespace
}  // namespace sheen::apps
