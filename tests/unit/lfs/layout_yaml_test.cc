#include "apps/lfs/layout_yaml.h"

#include <gtest/gtest.h>

#include "apps/lfs/format.h"

namespace sheen::lfs {
namespace {

Errc ErrorOf(const std::string& text) {
  const auto layout = ParseLayoutYaml(text);
  return layout ? Errc::kOk : layout.error().code();
}

TEST(ParseLayoutYaml, ReadsWhatGetstripePrints) {
  layout::Layout layout;
  layout.composite = true;
  layout::Component first;
  first.id = 1;
  first.end = 1 << 20;
  first.stripe_bytes = 131072;
  layout.components.push_back(first);
  layout::Component second;
  second.id = 2;
  second.start = 1 << 20;
  second.stripe_count = layout::kAllOsts;
  layout.components.push_back(second);
  ASSERT_TRUE(layout::Validate(layout).has_value());
  const std::string yaml = FormatLayout({.layout = &layout}, {.yaml = true});
  const auto read = ParseLayoutYaml(yaml);
  ASSERT_TRUE(read.has_value()) << read.error().message() << "\n" << yaml;
  EXPECT_EQ(*read, layout);
}

TEST(ParseLayoutYaml, PlacementOfObjectsIsTakenOver) {
  const auto read = ParseLayoutYaml(
      "lmm_stripe_count:  2\nlmm_stripe_size:   1048576\nlmm_pattern:       raid0\n"
      "lmm_layout_gen:    0\nlmm_stripe_offset: 3\nlmm_objects:\n      - l_ost_idx: 3\n"
      "        l_fid:     0x200000401:0x2:0x0\n      - l_ost_idx: 1\n"
      "        l_fid:     0x200000401:0x2:0x0\n");
  ASSERT_TRUE(read.has_value()) << read.error().message();
  ASSERT_EQ(read->components.size(), 1u);
  EXPECT_FALSE(read->composite);
  EXPECT_EQ(read->components[0].wanted_osts, (std::vector<uint32_t>{3, 1}));
  EXPECT_EQ(read->components[0].stripe_count, 2u);
}

TEST(ParseLayoutYaml, SaysWhatIsWrong) {
  EXPECT_EQ(ErrorOf(""), Errc::kInvalid);
  EXPECT_EQ(ErrorOf("lmm_stripe_count 2\n"), Errc::kInvalid);
  EXPECT_EQ(ErrorOf("lmm_stripe_count: many\n"), Errc::kInvalid);
  EXPECT_EQ(ErrorOf("lmm_stripe_count: 1\ncolour: red\n"), Errc::kInvalid);
  EXPECT_EQ(ErrorOf("lmm_pattern: mdt\n"), Errc::kNotSupported);
  EXPECT_EQ(ErrorOf("lmm_stripe_count: 1\nlmm_stripe_size: 1000\n"), Errc::kInvalid);
  const auto read = ParseLayoutYaml("lmm_stripe_count: 1\n\nlmm_stripe_offset: x\n");
  ASSERT_FALSE(read.has_value());
  EXPECT_TRUE(read.error().message().starts_with("line 3: ")) << read.error().message();
}

}  // namespace
}  // namespace sheen::lfs
