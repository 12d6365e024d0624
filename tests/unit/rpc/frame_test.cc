#include "rpc/frame.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "base/crc32c.h"
#include "rpc/frame_reader.h"
#include "rpc/frame_sender.h"

namespace sheen::rpc {
namespace {

std::filesystem::path Root() { return std::filesystem::path(__FILE__).parent_path() / "../../.."; }

// tests/golden/wire/NAME: pairs of hex digits; "#" starts a comment.
std::string Golden(const std::string& name) {
  const std::filesystem::path path = Root() / "tests/golden/wire" / name;
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::string digits;
  std::string line;
  while (std::getline(in, line)) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (std::isxdigit(static_cast<unsigned char>(c))) digits.push_back(c);
    }
  }
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const unsigned char c : bytes) {
    char text[4];
    std::snprintf(text, sizeof text, "%02x", c);
    out += text;
  }
  return out;
}

// What FrameSender makes of messages.
std::string Sent(std::vector<Message> messages, FrameSenderOptions options = {}) {
  FrameSender sender(options);
  for (Message& message : messages) sender.Push(std::move(message));
  std::string out;
  while (msghdr* header = sender.Prepare()) {
    size_t size = 0;
    for (size_t i = 0; i < header->msg_iovlen; ++i) {
      const iovec& part = header->msg_iov[i];
      out.append(static_cast<const char*>(part.iov_base), part.iov_len);
      size += part.iov_len;
    }
    sender.Advance(size);
  }
  EXPECT_TRUE(sender.empty());
  return out;
}

FrameHeader FullHeader() {
  FrameHeader header;
  header.flags = kResend | kReplay;
  header.opcode = Opcode::kOstWrite;
  header.target = 0x01020304;
  header.xid = 0x1112131415161718;
  header.slot = 0x21222324;
  header.credential = 0x31323334;
  header.transno = 0x4142434445464748;
  header.last_committed = 0x5152535455565758;
  header.deadline_ms = 0x6162636465666768;
  return header;
}

Message Full() {
  Message message;
  message.header = FullHeader();
  message.body = "body of a frame";
  message.bulk = io::Buffer::Allocate(4);
  std::memcpy(message.bulk.data(), "bulk", 4);
  return message;
}

Message PingReply() {
  Message message;
  message.header.flags = kReply;
  message.header.opcode = Opcode::kPing;
  message.header.status = Errc::kUnavailable;
  message.header.xid = 7;
  message.header.last_committed = 9;
  return message;
}

std::vector<Message> Only(Message message) {
  std::vector<Message> out;
  out.push_back(std::move(message));
  return out;
}

TEST(FrameTest, WriteRequestHasTheGoldenBytes) {
  EXPECT_EQ(Hex(Sent(Only(Full()))), Hex(Golden("ost_write_request.hex")));
}

TEST(FrameTest, ErrorReplyHasTheGoldenBytes) {
  EXPECT_EQ(Hex(Sent(Only(PingReply()), {.is_server = true})), Hex(Golden("ping_error_reply.hex")));
}

// The example's lines begin with four blanks and hex pairs, up to two blanks in a row.
TEST(FrameTest, TheDocumentShowsTheGoldenBytes) {
  std::ifstream in(Root() / "docs/formats/wire.md");
  ASSERT_TRUE(in.good());
  std::string digits;
  std::string line;
  while (std::getline(in, line) && line != "## Worked example") continue;
  while (std::getline(in, line)) {
    if (!line.starts_with("    ")) continue;
    const std::string bytes = line.substr(4, line.find("  ", 4) - 4);
    for (const char c : bytes) {
      if (c != ' ') digits.push_back(c);
    }
  }
  EXPECT_EQ(digits, Hex(Golden("ost_write_request.hex")));
}

TEST(FrameTest, EveryFieldSurvivesTheWire) {
  FrameHeader header = FullHeader();
  header.flags |= kReply | kFromServer;
  header.status = Errc::kFenced;
  header.body_bytes = kBodyBytesMax;
  header.bulk_bytes = kBulkBytesMax;
  header.bulk_crc = 0x71727374;
  header.body_crc = 0x81828384;
  const auto back = DecodeHeader(EncodeHeader(header));
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_EQ(EncodeHeader(*back), EncodeHeader(header));
  EXPECT_EQ(back->opcode, header.opcode);
  EXPECT_EQ(back->status, header.status);
  EXPECT_EQ(back->xid, header.xid);
  EXPECT_EQ(back->deadline_ms, header.deadline_ms);
}

TEST(FrameTest, EveryFlippedBitIsFound) {
  const HeaderBytes good = EncodeHeader(FullHeader());
  for (size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
    HeaderBytes bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    ASSERT_FALSE(DecodeHeader(bad).has_value()) << "bit " << bit;
  }
}

// ---- each rule of the header, broken alone (the CRC is right again) ----

Error ErrorOf(HeaderBytes bytes) {
  StoreLittle(bytes.data() + 76, Crc32c(ByteSpan(bytes).first(76)));
  const auto header = DecodeHeader(bytes);
  EXPECT_FALSE(header.has_value());
  return header ? Error() : header.error();
}

template <class T>
Error ErrorWith(size_t offset, T value) {
  HeaderBytes bytes = EncodeHeader({});
  StoreLittle(bytes.data() + offset, value);
  return ErrorOf(bytes);
}

void ExpectError(const Error& error, Errc code, const std::string& field) {
  EXPECT_EQ(error.code(), code) << error.ToString();
  EXPECT_NE(error.message().find(field), std::string::npos) << error.ToString();
}

TEST(FrameRuleTest, ShortHeader) {
  const HeaderBytes bytes = EncodeHeader({});
  const auto header = DecodeHeader(ByteSpan(bytes).first(79));
  ASSERT_FALSE(header.has_value());
  ExpectError(header.error(), Errc::kProtocol, "79");
}
TEST(FrameRuleTest, Magic) {
  ExpectError(ErrorWith<uint32_t>(0, 0x314E4852), Errc::kProtocol, "magic");
}
TEST(FrameRuleTest, HeaderCrc) {
  HeaderBytes bytes = EncodeHeader({});
  bytes[16] ^= std::byte{1};
  const auto header = DecodeHeader(bytes);
  ASSERT_FALSE(header.has_value());
  ExpectError(header.error(), Errc::kCorrupt, "header_crc");
}
TEST(FrameRuleTest, VersionTooNew) {
  ExpectError(ErrorWith<uint16_t>(4, kProtocolVersion + 1), Errc::kBadVersion, "version");
}
TEST(FrameRuleTest, VersionTooOld) {
  ExpectError(ErrorWith<uint16_t>(4, kProtocolVersionOldest - 1), Errc::kBadVersion, "version");
}
TEST(FrameRuleTest, UnknownFlag) {
  ExpectError(ErrorWith<uint16_t>(6, kKnownFlags + 1), Errc::kProtocol, "flags");
}
TEST(FrameRuleTest, StatusInARequest) {
  ExpectError(ErrorWith<uint16_t>(10, 5), Errc::kProtocol, "status");
}
TEST(FrameRuleTest, BodyTooLong) {
  ExpectError(ErrorWith<uint32_t>(24, kBodyBytesMax + 1), Errc::kProtocol, "body_bytes");
}
TEST(FrameRuleTest, BulkTooLong) {
  ExpectError(ErrorWith<uint32_t>(28, kBulkBytesMax + 1), Errc::kProtocol, "bulk_bytes");
}
TEST(FrameRuleTest, Reserved) {
  ExpectError(ErrorWith<uint32_t>(72, 1), Errc::kProtocol, "reserved");
}

// ---- opcodes ----

TEST(OpcodeTest, KnownOnesHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  int known = 0;
  for (uint32_t value = 0; value <= 0xFFFF; ++value) {
    const auto opcode = static_cast<Opcode>(value);
    if (!IsKnown(opcode)) {
      ASSERT_EQ(NameOf(opcode), "unknown");
      ASSERT_FALSE(IsMutating(opcode));
      continue;
    }
    ++known;
    EXPECT_TRUE(names.insert(NameOf(opcode)).second) << NameOf(opcode);
  }
  EXPECT_EQ(known, 63);
}

TEST(OpcodeTest, ReadersDoNotMutateAndWritersDo) {
  for (const Opcode opcode : {Opcode::kPing, Opcode::kMdsLookup, Opcode::kMdsReadDir,
                              Opcode::kOstRead, Opcode::kOstSync, Opcode::kMdsStatFs}) {
    EXPECT_FALSE(IsMutating(opcode)) << NameOf(opcode);
  }
  for (const Opcode opcode : {Opcode::kMdsCreate, Opcode::kMdsRename, Opcode::kMdsOpen,
                              Opcode::kMdsClose, Opcode::kOstWrite, Opcode::kOstTruncate}) {
    EXPECT_TRUE(IsMutating(opcode)) << NameOf(opcode);
  }
}

// ---- reader and sender without a socket ----

class Sinkless final : public LinkHandler {
 public:
  MutableByteSpan SinkFor(const FrameHeader&) override { return {}; }
  void OnMessage(Message) override {}
  void OnClosed(const Error&) override {}
};

// Feeds `bytes` in pieces of at most `piece`; gives the messages.
std::vector<Message> ReadAll(FrameReader* reader, std::string_view bytes, size_t piece) {
  Sinkless handler;
  std::vector<Message> out;
  for (;;) {
    Result<bool> complete = reader->Step(&handler);
    EXPECT_TRUE(complete.has_value()) << complete.error().ToString();
    if (!complete) return out;
    if (*complete) {
      out.push_back(reader->Take());
      continue;
    }
    if (bytes.empty()) return out;
    const MutableByteSpan target = reader->Next().span;
    const size_t count = std::min({piece, target.size(), bytes.size()});
    std::memcpy(target.data(), bytes.data(), count);
    reader->Received(count);
    bytes.remove_prefix(count);
  }
}

TEST(FrameReaderTest, CutsTheSameMessagesFromPiecesOfAnySize) {
  const auto make = [] {
    std::vector<Message> messages;
    for (size_t i = 0; i < 40; ++i) {
      Message message;
      message.header.xid = i;
      message.body = std::string(i * i * 20, static_cast<char>('a' + i % 26));
      if (i % 3 == 0) {
        message.bulk = io::Buffer::Allocate(i * 3000 + 1);
        std::memset(message.bulk.data(), static_cast<int>(i), message.bulk.size());
      }
      messages.push_back(std::move(message));
    }
    return messages;
  };
  const std::vector<Message> expected = make();
  const std::string bytes = Sent(make());
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{80}, size_t{4096}, size_t{100000}}) {
    FrameReader reader(/*peer_is_server=*/false);
    reader.SetEstablished();
    const std::vector<Message> got = ReadAll(&reader, bytes, piece);
    ASSERT_EQ(got.size(), expected.size()) << piece;
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].header.xid, i);
      ASSERT_TRUE(got[i].body == expected[i].body) << i;
      ASSERT_TRUE(AsText(got[i].bulk_bytes()) == AsText(expected[i].bulk_bytes())) << i;
    }
    EXPECT_FALSE(reader.mid_frame());
  }
}

TEST(FrameReaderTest, NothingIsAllocatedForLengthsBeyondTheLimit) {
  // A session does not exist yet: 4097 bytes of body are refused when the header is there.
  FrameReader reader(/*peer_is_server=*/false);
  FrameHeader header;
  header.body_bytes = kHelloBodyBytesMax + 1;
  const HeaderBytes bytes = EncodeHeader(header);
  std::memcpy(reader.Next().span.data(), bytes.data(), bytes.size());
  reader.Received(bytes.size());
  Sinkless handler;
  const Result<bool> step = reader.Step(&handler);
  ASSERT_FALSE(step.has_value());
  EXPECT_EQ(step.error().code(), Errc::kProtocol);
}

TEST(FrameSenderTest, PartialSendsRepeatNothingAndLoseNothing) {
  const auto make = [] {
    std::vector<Message> messages;
    for (size_t i = 0; i < 150; ++i) {
      Message message;
      message.header.xid = i;
      message.body = std::string(i % 40, 'x');
      messages.push_back(std::move(message));
    }
    return messages;
  };
  const std::string whole = Sent(make());
  for (const size_t step : {size_t{1}, size_t{79}, size_t{1000}}) {
    FrameSender sender({});
    std::vector<Message> messages = make();
    for (Message& message : messages) sender.Push(std::move(message));
    EXPECT_EQ(sender.queued_bytes(), whole.size());
    std::string out;
    while (msghdr* header = sender.Prepare()) {
      size_t left = step;
      size_t taken = 0;
      for (size_t i = 0; i < header->msg_iovlen && left > 0; ++i) {
        const size_t part = std::min(left, header->msg_iov[i].iov_len);
        out.append(static_cast<const char*>(header->msg_iov[i].iov_base), part);
        left -= part;
        taken += part;
      }
      sender.Advance(taken);
      ASSERT_EQ(sender.queued_bytes(), whole.size() - out.size());
    }
    EXPECT_TRUE(out == whole) << step;
  }
}

TEST(FrameSenderTest, ChecksumsAreLeftOutWhenOff) {
  const std::string bytes = Sent(Only(Full()), {.checksums = false});
  const auto header = DecodeHeader(AsBytes(bytes).first(kHeaderBytes));
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->flags & (kBodyCrc | kBulkCrc), 0);
  EXPECT_EQ(header->bulk_crc, 0U);
}

}  // namespace
}  // namespace sheen::rpc
