#include "apps/lfs/format.h"

#include <gtest/gtest.h>

namespace sheen::lfs {
namespace {

using layout::Layout;

constexpr Fid kFid{0x200000401, 0x6, 0};

void Instantiate(layout::Component* component, std::vector<uint32_t> osts) {
  component->object_fid = kFid;
  component->birth = 1;
  component->stripe_count = static_cast<uint32_t>(osts.size());
  component->osts = std::move(osts);
  component->present.assign(component->osts.size(), false);
}

Layout Plain() {
  Layout layout = layout::PlainTemplate(4, 1 << 20);
  Instantiate(&layout.components[0], {0, 1, 2, 3});
  return layout;
}

Layout Composite() {
  Layout layout = layout::DefaultTemplate();
  layout.generation = 3;
  layout.components.resize(3);
  layout.components[0].end = 104857600;
  layout.components[1].stripe_count = 4;
  layout.components[2].stripe_count = layout::kAllOsts;
  layout.components[2].end = layout::kEof;
  for (auto& component : layout.components) component.stripe_bytes = 4194304;
  Instantiate(&layout.components[0], {0});
  return layout;
}

std::string File(const Layout& layout, const FormatOptions& options = {}) {
  return FormatLayout({&layout, kFid, false, false}, options);
}
std::string Directory(const Layout& layout, const FormatOptions& options = {},
                      bool inherited = false) {
  return FormatLayout({&layout, kFid, true, inherited}, options);
}
std::string Attributes(const Layout& layout, uint32_t attributes, FormatOptions options = {}) {
  options.attributes = attributes;
  return FormatAttributes({&layout, kFid, false, false}, options);
}

TEST(LfsFormatTest, PlainFileIsLustresText) {
  EXPECT_EQ(File(Plain()),
            "lmm_stripe_count:  4\n"
            "lmm_stripe_size:   1048576\n"
            "lmm_pattern:       raid0\n"
            "lmm_layout_gen:    0\n"
            "lmm_stripe_offset: 0\n"
            "\tobdidx\t\t objid\t\t objid\t\t group\n"
            "\t     0\t             6\t          0x6\t   0x200000401\n"
            "\t     1\t             6\t          0x6\t   0x200000401\n"
            "\t     2\t             6\t          0x6\t   0x200000401\n"
            "\t     3\t             6\t          0x6\t   0x200000401\n"
            "\n");
}

TEST(LfsFormatTest, PoolHasALineOfItsOwn) {
  Layout layout = Plain();
  layout.components[0].pool = "flash";
  EXPECT_NE(File(layout).find("lmm_stripe_offset: 0\nlmm_pool:          flash\n\tobdidx"),
            std::string::npos);
}

TEST(LfsFormatTest, OverstripedFileSaysSo) {
  Layout layout = Plain();
  Instantiate(&layout.components[0], {0, 1, 0});
  layout.components[0].overstriped = true;
  EXPECT_NE(File(layout).find("lmm_pattern:       raid0,overstriped\n"), std::string::npos);
  EXPECT_NE(File(layout, {.yaml = true}).find("lmm_pattern:       raid0,overstriped\n"),
            std::string::npos);
  layout = layout::PlainTemplate(layout::kAllOsts - 1, 1 << 20);
  layout.components[0].overstriped = true;
  EXPECT_NE(Directory(layout).find("stripe_count:  -2 "), std::string::npos) << Directory(layout);
}

TEST(LfsFormatTest, VerbosePlainFileBeginsWithItsIdentity) {
  EXPECT_TRUE(File(Plain(), {.verbose = true})
                  .starts_with("lmm_magic:         0x0BD10BD0\n"
                               "lmm_seq:           0x200000401\n"
                               "lmm_object_id:     0x6\n"
                               "lmm_fid:           [0x200000401:0x6:0x0]\n"
                               "lmm_stripe_count:  4\n"));
}

TEST(LfsFormatTest, QuietPlainFileIsTheObjectTable) {
  EXPECT_TRUE(File(Plain(), {.quiet = true}).starts_with("\tobdidx\t\t objid"));
}

TEST(LfsFormatTest, PlainFileInYaml) {
  Layout layout = Plain();
  Instantiate(&layout.components[0], {2, 0});
  EXPECT_EQ(File(layout, {.yaml = true}),
            "lmm_stripe_count:  2\n"
            "lmm_stripe_size:   1048576\n"
            "lmm_pattern:       raid0\n"
            "lmm_layout_gen:    0\n"
            "lmm_stripe_offset: 2\n"
            "lmm_objects:\n"
            "      - l_ost_idx: 2\n"
            "        l_fid:     0x200000401:0x6:0x0\n"
            "      - l_ost_idx: 0\n"
            "        l_fid:     0x200000401:0x6:0x0\n");
}

constexpr char kCompositeText[] =
    "  lcm_layout_gen:    3\n"
    "  lcm_mirror_count:  1\n"
    "  lcm_entry_count:   3\n"
    "    lcme_id:             1\n"
    "    lcme_mirror_id:      0\n"
    "    lcme_flags:          init\n"
    "    lcme_extent.e_start: 0\n"
    "    lcme_extent.e_end:   104857600\n"
    "      lmm_stripe_count:  1\n"
    "      lmm_stripe_size:   4194304\n"
    "      lmm_pattern:       raid0\n"
    "      lmm_layout_gen:    0\n"
    "      lmm_stripe_offset: 0\n"
    "      lmm_objects:\n"
    "      -   0: { l_ost_idx:   0, l_fid: [0x200000401:0x6:0x0] }\n"
    "\n"
    "    lcme_id:             2\n"
    "    lcme_mirror_id:      0\n"
    "    lcme_flags:          0\n"
    "    lcme_extent.e_start: 104857600\n"
    "    lcme_extent.e_end:   10737418240\n"
    "      lmm_stripe_count:  4\n"
    "      lmm_stripe_size:   4194304\n"
    "      lmm_pattern:       raid0\n"
    "      lmm_layout_gen:    0\n"
    "      lmm_stripe_offset: -1\n"
    "\n"
    "    lcme_id:             3\n"
    "    lcme_mirror_id:      0\n"
    "    lcme_flags:          0\n"
    "    lcme_extent.e_start: 10737418240\n"
    "    lcme_extent.e_end:   EOF\n"
    "      lmm_stripe_count:  -1\n"
    "      lmm_stripe_size:   4194304\n"
    "      lmm_pattern:       raid0\n"
    "      lmm_layout_gen:    0\n"
    "      lmm_stripe_offset: -1\n"
    "\n";

TEST(LfsFormatTest, CompositeFileIsLustresText) { EXPECT_EQ(File(Composite()), kCompositeText); }

TEST(LfsFormatTest, ComponentFilterKeepsTheHeader) {
  const std::string text = File(Composite(), {.component_id = 2});
  EXPECT_TRUE(
      text.starts_with("  lcm_layout_gen:    3\n  lcm_mirror_count:  1\n"
                       "  lcm_entry_count:   3\n    lcme_id:             2\n"));
  EXPECT_EQ(text.find("lcme_id:             1"), std::string::npos);
  EXPECT_EQ(text.find("lcme_id:             3"), std::string::npos);
  const std::string init =
      File(Composite(), {.component_flags = FlagList{.with = kComponentHasObjects}});
  EXPECT_NE(init.find("lcme_id:             1"), std::string::npos);
  EXPECT_EQ(init.find("lcme_id:             2"), std::string::npos);
}

TEST(LfsFormatTest, CompositeDirectoryNamesNoComponents) {
  Layout layout = layout::TemplateOf(Composite());
  layout.components.resize(1);
  EXPECT_EQ(Directory(layout),
            "  lcm_layout_gen:    0\n"
            "  lcm_mirror_count:  1\n"
            "  lcm_entry_count:   1\n"
            "    lcme_id:             N/A\n"
            "    lcme_mirror_id:      N/A\n"
            "    lcme_flags:          0\n"
            "    lcme_extent.e_start: 0\n"
            "    lcme_extent.e_end:   104857600\n"
            "      stripe_count:  1       stripe_size:   4194304       pattern:       raid0"
            "       stripe_offset: -1\n"
            "\n");
}

TEST(LfsFormatTest, PlainDirectoryIsOneLine) {
  const Layout layout = layout::PlainTemplate(layout::kAllOsts, 4 << 20);
  constexpr char kText[] =
      "stripe_count:  -1 stripe_size:   4194304 pattern:       raid0 stripe_offset: -1\n\n";
  EXPECT_EQ(Directory(layout), kText);
  EXPECT_EQ(Directory(layout, {.verbose = true}, true), std::string("(Default) ") + kText);
}

TEST(LfsFormatTest, CompositeFileInYaml) {
  Layout layout = Composite();
  layout.components.resize(2);
  EXPECT_EQ(File(layout, {.yaml = true}),
            "lcm_layout_gen:    3\n"
            "lcm_mirror_count:  1\n"
            "lcm_entry_count:   2\n"
            "components:\n"
            "  - lcme_id:             1\n"
            "    lcme_mirror_id:      0\n"
            "    lcme_flags:          init\n"
            "    lcme_extent.e_start: 0\n"
            "    lcme_extent.e_end:   104857600\n"
            "    sub_layout:\n"
            "      lmm_stripe_count:  1\n"
            "      lmm_stripe_size:   4194304\n"
            "      lmm_pattern:       raid0\n"
            "      lmm_layout_gen:    0\n"
            "      lmm_stripe_offset: 0\n"
            "      lmm_objects:\n"
            "      - l_ost_idx: 0\n"
            "        l_fid:     0x200000401:0x6:0x0\n"
            "  - lcme_id:             2\n"
            "    lcme_mirror_id:      0\n"
            "    lcme_flags:          0\n"
            "    lcme_extent.e_start: 104857600\n"
            "    lcme_extent.e_end:   10737418240\n"
            "    sub_layout:\n"
            "      lmm_stripe_count:  4\n"
            "      lmm_stripe_size:   4194304\n"
            "      lmm_pattern:       raid0\n"
            "      lmm_layout_gen:    0\n"
            "      lmm_stripe_offset: -1\n");
}

TEST(LfsFormatTest, VerboseCompositeFileShowsWhatTheXattrWouldHold) {
  Layout layout = Composite();
  layout.components.resize(2);
  const std::string text = File(layout, {.verbose = true});
  // 32 + 2 * 48, then 32 + 24 for the first and 32 for the second.
  EXPECT_TRUE(
      text.starts_with("composite_header:\n"
                       "  lcm_magic:         0x0BD60BD0\n"
                       "  lcm_size:          216\n"
                       "  lcm_flags:         0\n"
                       "  lcm_layout_gen:    3\n"
                       "  lcm_mirror_count:  1\n"
                       "  lcm_entry_count:   2\n"
                       "components:\n"
                       "  - lcme_id:             1\n"
                       "    lcme_mirror_id:      0\n"
                       "    lcme_flags:          init\n"
                       "    lcme_extent.e_start: 0\n"
                       "    lcme_extent.e_end:   104857600\n"
                       "    lcme_offset:         128\n"
                       "    lcme_size:           56\n"
                       "    sub_layout:\n"
                       "      lmm_magic:         0x0BD10BD0\n"
                       "      lmm_seq:           0x200000401\n"
                       "      lmm_object_id:     0x6\n"
                       "      lmm_fid:           [0x200000401:0x6:0x0]\n"
                       "      lmm_stripe_count:  1\n"))
      << text;
  EXPECT_NE(text.find("    lcme_offset:         184\n    lcme_size:           32\n"),
            std::string::npos);
  EXPECT_NE(text.find("      -   0: { l_ost_idx:   0, l_fid:"), std::string::npos);
}

TEST(LfsFormatTest, OneAttributeIsABareValue) {
  EXPECT_EQ(Attributes(Plain(), kShowStripeCount), "4\n");
  EXPECT_EQ(Attributes(Plain(), kShowStripeSize), "1048576\n");
  EXPECT_EQ(Attributes(Plain(), kShowStripeIndex), "0\n");
  EXPECT_EQ(Attributes(Plain(), kShowGeneration), "0\n");
  EXPECT_EQ(Attributes(Plain(), kShowPattern), "raid0\n");
  EXPECT_EQ(Attributes(Plain(), kShowPool), "\n");
  EXPECT_EQ(Attributes(Plain(), kShowMdtIndex), "0\n");
  EXPECT_EQ(Attributes(Plain(), kShowFid), "[0x200000401:0x6:0x0]\n");
  EXPECT_EQ(Attributes(Composite(), kShowComponentCount), "3\n");
  EXPECT_EQ(Attributes(Composite(), kShowGeneration), "3\n");
}

TEST(LfsFormatTest, SeveralAttributesAreLabelled) {
  EXPECT_EQ(Attributes(Plain(), kShowStripeCount | kShowStripeIndex),
            "lmm_stripe_count:  4\nlmm_stripe_offset: 0\n");
}

TEST(LfsFormatTest, CompositeSpeaksByItsLastInstantiatedComponent) {
  Layout layout = Composite();
  EXPECT_EQ(Attributes(layout, kShowStripeCount), "1\n");
  Instantiate(&layout.components[1], {2, 3, 1, 0});
  EXPECT_EQ(Attributes(layout, kShowStripeCount), "4\n");
  EXPECT_EQ(Attributes(layout, kShowStripeIndex), "2\n");
  EXPECT_EQ(Attributes(layout, kShowComponentEnd), "10737418240\n");
  EXPECT_EQ(Attributes(layout, kShowStripeCount, {.component_id = 1}), "1\n");
  EXPECT_EQ(Attributes(layout, kShowStripeCount, {.component_id = 3}), "-1\n");
}

TEST(LfsFormatTest, FileWithoutALayoutStillHasAFid) {
  EXPECT_EQ(Attributes(Layout(), kShowFid), "[0x200000401:0x6:0x0]\n");
}

TEST(LfsFormatTest, FilesAreOfNoMirror) {
  EXPECT_EQ(Attributes(Composite(), kShowMirrorId), "0\n");
  EXPECT_EQ(Attributes(Composite(), kShowMirrorId | kShowComponentId),
            "lcme_id:             1\nlcme_mirror_id:      0\n");
  FormatOptions other;
  other.no_mirror = true;
  EXPECT_EQ(Attributes(Composite(), kShowStripeCount, other), "");
  EXPECT_EQ(File(Plain(), other), "");
  EXPECT_EQ(File(Composite(), other),
            "  lcm_layout_gen:    3\n  lcm_mirror_count:  1\n  lcm_entry_count:   3\n");
}

TEST(LfsFormatTest, AFilterThatNothingPassesShowsNoValue) {
  FormatOptions filter;
  filter.component_id = 9;
  EXPECT_EQ(Attributes(Composite(), kShowStripeCount, filter), "");
}

}  // namespace
}  // namespace sheen::lfs
