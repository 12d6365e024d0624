#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "sheen/result.h"

namespace sheen {
namespace {

TEST(Crc32cTest, MatchesTheStandardsCheckValues) {
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xE3069283U);
  EXPECT_EQ(Crc32c({}), 0U);
  EXPECT_EQ(Crc32c(AsBytes(std::string(32, '\0'))), 0x8A9136AAU);  // RFC 3720 B.4
}

TEST(Crc32cTest, GoesOnFromASeed) {
  const std::string text = "the quick brown fox";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const uint32_t head = Crc32c(AsBytes(text.substr(0, cut)));
    EXPECT_EQ(Crc32c(AsBytes(text.substr(cut)), head), Crc32c(AsBytes(text)));
  }
}

TEST(DecoderTest, NeverReadsPastItsSpan) {
  Encoder out;
  out.U32(7);
  out.Bytes("name");
  out.U64(1);
  const std::string whole = out.data();
  for (size_t size = 0; size <= whole.size(); ++size) {
    Decoder in(std::string_view(whole).substr(0, size));
    in.U32();
    in.Bytes();
    in.U64();
    EXPECT_EQ(in.done(), size == whole.size()) << size;
  }
}

TEST(DecoderTest, RefusesALengthBeyondTheEnd) {
  Encoder out;
  out.U32(0xFFFFFFFF);
  Decoder in(out.data());
  EXPECT_EQ(in.Bytes(), "");
  EXPECT_FALSE(in.ok());
}

TEST(BigEndianTest, ByteOrderIsNumericOrder) {
  std::string low, high;
  AppendBig64(&low, 255);
  AppendBig64(&high, 256);
  EXPECT_LT(low, high);
  EXPECT_EQ(LoadBig64(high.data()), 256U);
}

TEST(UuidTest, PrintsAndParses) {
  const Uuid uuid = Uuid::Random();
  Uuid back;
  ASSERT_TRUE(Uuid::Parse(uuid.ToString(), &back));
  EXPECT_EQ(uuid, back);
  EXPECT_FALSE(Uuid::Parse("not a uuid", &back));
  EXPECT_FALSE(Uuid::Parse("4f6c0f3e-0000-0000-0000-00000000000g", &back));
  EXPECT_FALSE(Uuid::Parse("4f6c0f3e00000000-0000-0000-000000000000", &back));
}

TEST(RandomTest, TheSameSeedGivesTheSameNumbers) {
  Random a(5), b(5), c(6);
  EXPECT_EQ(a.Next(), b.Next());
  EXPECT_NE(a.Next(), c.Next());
}

TEST(ErrcTest, EveryErrnoOfOursComesBack) {
  for (const int error_number : {1, 2, 5, 13, 17, 20, 21, 22, 28, 36, 39, 61, 95, 116}) {
    EXPECT_EQ(ErrnoOf(ErrcOfErrno(error_number)), error_number);
  }
  EXPECT_EQ(ErrcOfErrno(12345), Errc::kIo);
  EXPECT_EQ(ErrnoOf(Errc::kCorrupt), 5);
}

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(Errc::kInvalid, "odd");
  return value / 2;
}

Status QuarterInto(int value, int* out) {
  SHEEN_TRY_ASSIGN(const int half, Half(value));
  SHEEN_TRY_ASSIGN(*out, Half(half));
  return {};
}

TEST(ResultTest, TryPassesErrorsOn) {
  int out = 0;
  EXPECT_TRUE(QuarterInto(8, &out));
  EXPECT_EQ(out, 2);
  EXPECT_EQ(QuarterInto(6, &out).error().ToString(), "odd: EINVAL");
}

}  // namespace
}  // namespace sheen
