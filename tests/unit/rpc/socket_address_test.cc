#include "rpc/socket_address.h"

#include <gtest/gtest.h>

namespace sheen::rpc {
namespace {

bool Admits(const std::vector<std::string>& networks, const std::string& host) {
  const auto list = CidrList::Parse(networks);
  EXPECT_TRUE(list.has_value()) << list.error().ToString();
  return list->Contains(*ParseLiteral(host, 1));
}

TEST(CidrListTest, EmptyListAdmitsLoopbackOnly) {
  EXPECT_TRUE(Admits({}, "127.0.0.1"));
  EXPECT_TRUE(Admits({}, "127.255.0.9"));
  EXPECT_TRUE(Admits({}, "::1"));
  EXPECT_TRUE(Admits({}, "::ffff:127.0.0.1"));
  EXPECT_FALSE(Admits({}, "128.0.0.1"));
  EXPECT_FALSE(Admits({}, "::2"));
}

TEST(CidrListTest, PrefixesCutAtAnyBit) {
  EXPECT_TRUE(Admits({"10.0.0.0/8"}, "10.255.255.255"));
  EXPECT_FALSE(Admits({"10.0.0.0/8"}, "11.0.0.0"));
  EXPECT_TRUE(Admits({"10.1.2.128/25"}, "10.1.2.129"));
  EXPECT_FALSE(Admits({"10.1.2.128/25"}, "10.1.2.127"));
  EXPECT_TRUE(Admits({"10.1.2.3"}, "10.1.2.3"));
  EXPECT_FALSE(Admits({"10.1.2.3"}, "10.1.2.2"));
  EXPECT_TRUE(Admits({"0.0.0.0/0"}, "8.8.8.8"));
  EXPECT_FALSE(Admits({"0.0.0.0/0"}, "2001:db8::1"));
  EXPECT_TRUE(Admits({"::/0"}, "2001:db8::1"));
  EXPECT_TRUE(Admits({"fd00::/9"}, "fd7f::1"));
  EXPECT_FALSE(Admits({"fd00::/9"}, "fd80::1"));
}

TEST(CidrListTest, Ipv4OverIpv6SocketsIsIpv4) {
  EXPECT_TRUE(Admits({"10.0.0.0/8"}, "::ffff:10.1.1.1"));
  EXPECT_FALSE(Admits({"10.0.0.0/8"}, "::ffff:11.1.1.1"));
}

TEST(CidrListTest, LoopbackIsAlwaysIn) { EXPECT_TRUE(Admits({"10.0.0.0/8"}, "127.0.0.1")); }

TEST(CidrListTest, WrongNetworksAreNamed) {
  for (const char* text : {"", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/8x",
                           "localhost", "10.0.0.0/-1"}) {
    const auto list = CidrList::Parse({"10.0.0.0/8", text});
    ASSERT_FALSE(list.has_value()) << text;
    EXPECT_EQ(list.error().code(), Errc::kInvalid);
    EXPECT_NE(list.error().message().find("\"" + std::string(text) + "\""), std::string::npos);
  }
}

TEST(SocketAddressTest, PrintsAsPeopleWriteIt) {
  EXPECT_EQ(ParseLiteral("10.0.0.1", 4711)->ToString(), "10.0.0.1:4711");
  EXPECT_EQ(ParseLiteral("::1", 80)->ToString(), "[::1]:80");
  EXPECT_EQ(ParseLiteral("::ffff:10.0.0.1", 80)->ToString(), "10.0.0.1:80");
  EXPECT_FALSE(ParseLiteral("localhost", 80).has_value());
  EXPECT_FALSE(ParseLiteral("[::1]", 80).has_value());
}

}  // namespace
}  // namespace sheen::rpc
