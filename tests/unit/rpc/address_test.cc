#include "rpc/address.h"

#include <gtest/gtest.h>

namespace sheen::rpc {
namespace {

TEST(AddressTest, EveryFormIsRead) {
  const struct {
    const char* text;
    Address address;
  } cases[] = {
      {"mds", {"mds", 7988}},           {"mds.example.org:1", {"mds.example.org", 1}},
      {"10.0.0.1", {"10.0.0.1", 7988}}, {"10.0.0.1:65535", {"10.0.0.1", 65535}},
      {"::1", {"::1", 7988}},           {"fd00::7", {"fd00::7", 7988}},
      {"[::1]", {"::1", 7988}},         {"[fd00::7]:80", {"fd00::7", 80}},
  };
  for (const auto& [text, address] : cases) {
    const Result<Address> parsed = ParseAddress(text, 7988);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(*parsed, address) << text;
    const Result<Address> again = ParseAddress(parsed->ToString(), 1);
    ASSERT_TRUE(again.has_value()) << parsed->ToString();
    EXPECT_EQ(*again, address);
  }
}

TEST(AddressTest, OthersAreRefusedAndShown) {
  for (const char* const text :
       {"", ":1", "host:", "host:0", "host:65536", "host:x", "host:1x", "a b", "[::1", "[::1]1",
        "[::1]:", "[host]:1", "a:b:c", "host/1"}) {
    const Result<Address> parsed = ParseAddress(text, 7988);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code(), Errc::kInvalid);
    EXPECT_NE(parsed.error().message().find("'" + std::string(text) + "'"), std::string::npos);
  }
}

TEST(AddressTest, ListsAreSplitAtCommas) {
  const auto parsed = ParseAddresses("a:1,[::1]:2,c", 3);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, (std::vector<Address>{{"a", 1}, {"::1", 2}, {"c", 3}}));
  EXPECT_FALSE(ParseAddresses("a,,b", 3).has_value());
  EXPECT_FALSE(ParseAddresses("", 3).has_value());
}

TEST(AddressTest, LoopbackMayConnectWhateverTheListSays) {
  const CidrList allow = *CidrList::Parse({"10.0.0.0/8"});
  EXPECT_TRUE(MayConnect(allow, "127.0.0.1"));
  EXPECT_TRUE(MayConnect(allow, "::1"));
  EXPECT_TRUE(MayConnect(allow, "10.200.0.1"));
  EXPECT_FALSE(MayConnect(allow, "11.0.0.1"));
  EXPECT_FALSE(MayConnect(allow, "localhost"));
  EXPECT_FALSE(MayConnect(allow, ""));
  EXPECT_EQ(HostOfPeer("[::1]:77"), "::1");
  EXPECT_EQ(HostOfPeer("10.0.0.1:77"), "10.0.0.1");
}

}  // namespace
}  // namespace sheen::rpc
