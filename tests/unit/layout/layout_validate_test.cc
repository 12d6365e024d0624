#include <gtest/gtest.h>

#include <functional>

#include "layout/layout.h"
#include "support/layout_random.h"

namespace sheen::layout {
namespace {

struct BadCase {
  const char* fragment;  // of the message
  std::function<void(Layout*)> spoil;
};

TEST(LayoutValidateTest, EveryBrokenRuleIsNamed) {
  const std::vector<BadCase> cases = {
      {"no component", [](Layout* l) { l->components.clear(); }},
      {"does not start at 0", [](Layout* l) { l->components[0].start = 1 << 20; }},
      {"not adjacent", [](Layout* l) { l->components[1].start += 1 << 20; }},
      {"not adjacent", [](Layout* l) { l->components[1].start -= 1 << 20; }},
      {"is before the previous end", [](Layout* l) { l->components[1].end = 64 << 10; }},
      {"is before the previous end", [](Layout* l) { l->components[1].end = 100 << 20; }},
      {"must be aligned by stripe size",
       [](Layout* l) {
         l->components[3].stripe_bytes = 1 << 20;
         l->components[2].end += 64 << 10;
       }},
      {"multiple of 65536", [](Layout* l) { l->components[0].end += 1; }},
      {"even multiple of 65536", [](Layout* l) { l->components[0].stripe_bytes = 1000; }},
      {"even multiple of 65536", [](Layout* l) { l->components[0].stripe_bytes = 0; }},
      {"over 4GB", [](Layout* l) { l->components[3].stripe_bytes = 4ULL << 30; }},
      {"Invalid stripe count 0", [](Layout* l) { l->components[0].stripe_count = 0; }},
      {"Invalid stripe count 2001", [](Layout* l) { l->components[0].stripe_count = 2001; }},
      {"OST index", [](Layout* l) { l->components[0].first_ost = 0xffe0; }},
      {"listed twice", [](Layout* l) { l->components[1].wanted_osts = {0, 1, 2, 3, 4, 5, 6, 6}; }},
      {"does not match",
       [](Layout* l) {
         l->components[1].wanted_osts = {0, 1};
       }},
      {"pool name", [](Layout* l) { l->components[0].pool = "0123456789abcdef"; }},
      {"pool name", [](Layout* l) { l->components[0].pool = "a/b"; }},
      {"used twice", [](Layout* l) { l->components[1].id = 1; }},
      {"plain layout", [](Layout* l) { l->composite = false; }},
      {"checksum block", [](Layout* l) { l->block_bytes = 5000; }},
      {"checksum block", [](Layout* l) { l->block_bytes = 128 << 10; }},
      {"no birth", [](Layout* l) { l->components[0].osts = {1}; }},
      {"0 objects", [](Layout* l) { l->components[0].birth = 1; }},
      {"presence",
       [](Layout* l) {
         l->components[0].birth = 1;
         l->components[0].osts = {1};
       }},
      {"object FID",
       [](Layout* l) {
         l->components[0].birth = 1;
         l->components[0].osts = {1};
         l->components[0].present = {true};
       }},
      {"at most 64", [](Layout* l) { l->components.resize(65); }},
  };
  for (const BadCase& bad : cases) {
    Layout layout = DefaultTemplate();
    ASSERT_TRUE(Validate(layout));
    bad.spoil(&layout);
    const Status status = Validate(layout);
    ASSERT_FALSE(status) << bad.fragment;
    EXPECT_EQ(status.error().code(), Errc::kInvalid);
    EXPECT_TRUE(status.error().message().starts_with("Invalid layout: "));
    EXPECT_NE(status.error().message().find(bad.fragment), std::string::npos)
        << status.error().message();
  }
}

TEST(LayoutValidateTest, LimitsThemselvesAreAllowed) {
  Layout layout = PlainTemplate(kStripeCountMax, kStripeBytesMax, 0xffdf);
  EXPECT_TRUE(Validate(layout));
  layout = PlainTemplate(kAllOsts, kStripeBytesUnit);
  EXPECT_TRUE(Validate(layout));
  // The last component may end before the end of file; the file then cannot grow beyond it.
  layout.composite = true;
  layout.components[0].end = kStripeBytesUnit;
  EXPECT_TRUE(Validate(layout));
}

}  // namespace
}  // namespace sheen::layout
