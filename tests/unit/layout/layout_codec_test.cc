#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "layout/layout.h"
#include "support/layout_random.h"

namespace sheen::layout {
namespace {

std::string ToHex(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
    out += (i % 16 == 15 || i + 1 == bytes.size()) ? '\n' : ' ';
  }
  return out;
}

// tests/golden/layout next to this file's tree. SHEEN_UPDATE_GOLDEN=1 writes the files anew.
std::string GoldenPath(const std::string& name) {
  const auto tests = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  return (tests / "golden" / "layout" / (name + ".hex")).string();
}

void ExpectGolden(const std::string& name, const Layout& layout) {
  const std::string hex = ToHex(Encode(layout));
  if (std::getenv("SHEEN_UPDATE_GOLDEN") != nullptr) std::ofstream(GoldenPath(name)) << hex;
  std::ifstream file(GoldenPath(name));
  ASSERT_TRUE(file.good()) << GoldenPath(name);
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(hex, golden.str()) << "the format of " << name << " changed: raise the version";
}

Component GoldenComponent() {
  Component component;
  component.id = 1;
  component.stripe_count = 2;
  component.object_fid = {0x200000402, 0x1f, 0};
  component.birth = 0x10000000007;
  component.osts = {1, 0};
  component.present = {true, false};
  return component;
}

// A section of any type behind component 0's others, with lengths and checksum made right.
std::string WithSection(const Layout& layout, uint16_t type, uint16_t flags,
                        const std::string& body) {
  std::string bytes = Encode(layout);
  bytes.resize(bytes.size() - 4);
  const auto component_bytes = LoadLittle<uint32_t>(bytes.data() + 40);
  Encoder section;
  section.U16(type);
  section.U16(flags);
  section.Bytes(body);
  bytes.insert(44 + component_bytes, section.data());
  StoreLittle<uint32_t>(bytes.data() + 40,
                        component_bytes + static_cast<uint32_t>(section.data().size()));
  StoreLittle<uint32_t>(bytes.data() + 24, static_cast<uint32_t>(bytes.size() + 4));
  const uint32_t crc = Crc32c(AsBytes(bytes));
  bytes.append(reinterpret_cast<const char*>(&crc), 4);
  return bytes;
}

std::string WithCrc(std::string bytes) {
  StoreLittle<uint32_t>(bytes.data() + bytes.size() - 4,
                        Crc32c(AsBytes(std::string_view(bytes).substr(0, bytes.size() - 4))));
  return bytes;
}

TEST(LayoutCodecTest, BytesAreTheGoldenOnes) {
  ExpectGolden("empty", Layout());
  ExpectGolden("plain_template", PlainTemplate(4, 1 << 20, 2));
  ExpectGolden("default_template", DefaultTemplate());
  Layout plain;
  plain.generation = 3;
  plain.components = {GoldenComponent()};
  ExpectGolden("plain_instantiated", plain);
  Layout composite = DefaultTemplate();
  composite.generation = 2;
  composite.components[0] = GoldenComponent();
  composite.components[0].end = 100 << 20;
  composite.components[0].pool = "flash";
  composite.components[1].wanted_osts = {7, 6, 5, 4, 3, 2, 1, 0};
  ExpectGolden("composite", composite);
}

TEST(LayoutCodecTest, DecodeGivesBackWhatWasEncoded) {
  Random random(TestSeed());
  EXPECT_EQ(*Decode(Encode(Layout())), Layout());
  for (int round = 0; round < 500; ++round) {
    const Layout layout = RandomLayout(&random, {.stripes_max = 40});
    const auto decoded = Decode(Encode(layout));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
    ASSERT_EQ(*decoded, layout);
  }
}

TEST(LayoutCodecTest, LargestLayoutFits) {
  Random random(1);
  Layout layout;
  layout.composite = true;
  for (uint64_t i = 0; i < kComponentCountMax; ++i) {
    Component component;
    component.id = static_cast<uint32_t>(i) + 1;
    component.start = i << 30;
    component.end = (i + 1) << 30;
    InstantiateForTest(&component, kStripeCountMax, &random);
    component.wanted_osts = component.osts;
    layout.components.push_back(component);
  }
  const auto decoded = Decode(Encode(layout));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(*decoded, layout);
}

TEST(LayoutCodecTest, EveryTruncationIsRefused) {
  Random random(TestSeed());
  for (int round = 0; round < 20; ++round) {
    const std::string bytes = Encode(RandomLayout(&random));
    for (size_t size = 0; size < bytes.size(); ++size)
      ASSERT_FALSE(Decode(std::string_view(bytes).substr(0, size)).has_value());
    ASSERT_FALSE(Decode(bytes + '\0').has_value());
  }
}

TEST(LayoutCodecTest, EveryFlippedBitIsRefused) {
  Random random(TestSeed());
  const std::string bytes = Encode(RandomLayout(&random));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(static_cast<uint8_t>(bad[bit / 8]) ^ 1U << bit % 8);
    ASSERT_FALSE(Decode(bad).has_value()) << "bit " << bit;
  }
}

// With a right checksum the parser itself is on trial: no crash, and only valid layouts come out.
TEST(LayoutCodecTest, MutatedBytesWithARightChecksumNeverDecodeToAnInvalidLayout) {
  Random random(TestSeed());
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = Encode(RandomLayout(&random));
    for (uint64_t i = 1 + random.Below(4); i-- > 0;) {
      const size_t at = random.Below(bytes.size() - 4);
      switch (random.Below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random.Next());
          break;
        case 1:
          bytes[at] = static_cast<char>(random.OneIn(2) ? 0xff : 0);
          break;
        case 2:
          bytes.erase(at, 1 + random.Below(8));
          break;
        default:
          bytes.insert(at, random.Below(9), static_cast<char>(random.Next()));
          break;
      }
      if (bytes.size() < 44) bytes.resize(44);
      if (random.OneIn(2)) StoreLittle<uint32_t>(bytes.data() + 24, bytes.size());
    }
    const auto decoded = Decode(WithCrc(bytes));
    if (!decoded) continue;
    ++accepted;
    ASSERT_TRUE(decoded->empty() || Validate(*decoded).has_value());
    ASSERT_EQ(*Decode(Encode(*decoded)), *decoded);
  }
  EXPECT_GT(accepted, 0);
}

TEST(LayoutCodecTest, HugeCountsAreRefusedBeforeAnythingIsAllocated) {
  std::string bytes = Encode(DefaultTemplate());
  StoreLittle<uint32_t>(bytes.data() + 36, UINT32_MAX);
  EXPECT_EQ(Decode(WithCrc(bytes)).error().code(), Errc::kCorrupt);
  StoreLittle<uint32_t>(bytes.data() + 36, kComponentCountMax);
  EXPECT_EQ(Decode(WithCrc(bytes)).error().code(), Errc::kCorrupt);
  bytes = Encode(DefaultTemplate());
  StoreLittle<uint32_t>(bytes.data() + 40, UINT32_MAX);
  EXPECT_EQ(Decode(WithCrc(bytes)).error().code(), Errc::kCorrupt);
}

TEST(LayoutCodecTest, NewerVersionsAndFeaturesAreRefusedAsSuch) {
  std::string bytes = Encode(DefaultTemplate());
  StoreLittle<uint16_t>(bytes.data() + 4, 2);
  EXPECT_EQ(Decode(WithCrc(bytes)).error().code(), Errc::kBadVersion);
  bytes = Encode(DefaultTemplate());
  StoreLittle<uint64_t>(bytes.data() + 8, 4);
  EXPECT_EQ(Decode(WithCrc(bytes)).error().code(), Errc::kBadVersion);
  bytes = Encode(DefaultTemplate());
  StoreLittle<uint64_t>(bytes.data() + 16, 1ULL << 40);  // compat: may be ignored
  EXPECT_TRUE(Decode(WithCrc(bytes)).has_value());
}

TEST(LayoutCodecTest, UnknownSectionsAreSkippedUnlessTheyMustBeKnown) {
  const Layout layout = DefaultTemplate();
  const auto skipped = Decode(WithSection(layout, 99, 0, "whatever"));
  ASSERT_TRUE(skipped.has_value()) << skipped.error().ToString();
  EXPECT_EQ(*skipped, layout);
  EXPECT_EQ(Decode(WithSection(layout, 99, 1, "must")).error().code(), Errc::kBadVersion);
}

TEST(LayoutCodecTest, OverstripingIsKeptAndMarkedAsWhatMustBeKnown) {
  constexpr size_t kIncompatOffset = 8;
  Layout layout = PlainTemplate(3, 1 << 20);
  EXPECT_EQ(Encode(layout)[kIncompatOffset], 0);
  layout.components[0].overstriped = true;
  layout.components[0].wanted_osts = {1, 1, 0};
  const std::string bytes = Encode(layout);
  EXPECT_EQ(bytes[kIncompatOffset], 2);
  const auto back = Decode(bytes);
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_EQ(*back, layout);
  layout.components[0].overstriped = false;
  EXPECT_FALSE(Decode(Encode(layout)).has_value()) << "one OST twice";
}

TEST(LayoutCodecTest, FlagsAreKeptAndOlderReadersPassThemOver) {
  Layout layout = TemplateOf(DefaultTemplate());
  const std::string without = Encode(layout);
  layout.components[1].flags = kPreferWrite;
  const std::string bytes = Encode(layout);
  EXPECT_EQ(bytes.size(), without.size() + 12);
  EXPECT_EQ(LoadLittle<uint64_t>(bytes.data() + 8), 0U) << "no feature that must be known";
  EXPECT_EQ(Decode(bytes), layout);
  layout.components[1].flags = 8;
  EXPECT_EQ(Decode(Encode(layout)), layout) << "of a later version: kept";
}

TEST(LayoutCodecTest, ASourceIsKeptAndMarkedAsWhatMustBeKnown) {
  Layout layout = PlainTemplate(2, 8 << 20);
  Component& component = layout.components[0];
  component.object_fid = {0x200000402, 0x1f, 0};
  component.birth = 0x10000000007;
  component.osts = {1, 0};
  component.present = {false, false};
  const std::string without = Encode(layout);
  component.source = Source{.link = 3, .key = "a/b", .etag = "\"e\"", .end = 12345};
  const std::string bytes = Encode(layout);
  const auto back = Decode(bytes);
  ASSERT_TRUE(back) << back.error().ToString();
  EXPECT_EQ(*back, layout);
  EXPECT_EQ(LoadLittle<uint64_t>(bytes.data() + 8), 1U);  // incompat
  EXPECT_EQ(LoadLittle<uint64_t>(without.data() + 8), 0U);
  // New files do not get it with the template.
  EXPECT_FALSE(TemplateOf(layout).components[0].source);
}

TEST(LayoutCodecTest, ASourceWhereNoneCanBeIsCorrupt) {
  EXPECT_EQ(Decode(WithSection(DefaultTemplate(), 5, 1, "source")).error().code(), Errc::kCorrupt);
  Encoder source;
  source.U32(3);
  source.Bytes("key");
  source.Bytes("etag");
  source.U64(10);
  // Not instantiated.
  EXPECT_EQ(Decode(WithSection(PlainTemplate(1, 8 << 20), 5, 1, source.data())).error().code(),
            Errc::kCorrupt);
}

}  // namespace
}  // namespace sheen::layout
