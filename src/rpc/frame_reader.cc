#include "rpc/frame_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/crc32c.h"

namespace sheen::rpc {
namespace {

constexpr size_t kStagingBytes = size_t{16} << 10;
// A shorter rest goes through the staging buffer: copying it costs less than another receive for
// the frames that follow it.
constexpr size_t kDirectBytesMin = size_t{8} << 10;

Status CheckCrc(const char* part, uint32_t stated, ByteSpan bytes) {
  const uint32_t computed = Crc32c(bytes);
  if (computed == stated) return {};
  return Fail(Errc::kCorrupt, std::string("frame: CRC32C of the ") + part + " (" +
                                  std::to_string(bytes.size()) + " bytes) is stated as " +
                                  std::to_string(stated) + ", the bytes give " +
                                  std::to_string(computed));
}

}  // namespace

FrameReader::FrameReader(bool peer_is_server)
    : peer_is_server_(peer_is_server), staging_(io::Buffer::Allocate(kStagingBytes)) {}

FrameReader::Target FrameReader::Next() {
  if (stage_ != Stage::kHeader && part_.size() - part_filled_ >= kDirectBytesMin) {
    target_is_part_ = true;
    return {part_.subspan(part_filled_), true};
  }
  target_is_part_ = false;
  const size_t left = staged();
  if (staged_begin_ > 0) std::memmove(staging_.data(), staging_.data() + staged_begin_, left);
  staged_begin_ = 0;
  staged_end_ = left;
  return {staging_.span().subspan(staged_end_), false};
}

void FrameReader::Received(size_t count) {
  if (target_is_part_) {
    part_filled_ += count;
  } else {
    staged_end_ += count;
  }
}

Result<bool> FrameReader::Step(LinkHandler* handler) {
  if (stage_ == Stage::kHeader) {
    if (staged() < kHeaderBytes) return false;
    SHEEN_TRY(BeginFrame());
  }
  if (stage_ == Stage::kBody) {
    if (!FillPart()) return false;
    const FrameHeader& header = message_.header;
    if ((header.flags & kBodyCrc) != 0) SHEEN_TRY(CheckCrc("body", header.body_crc, part_));
    BeginBulk(handler);
  }
  if (!FillPart()) return false;
  const FrameHeader& header = message_.header;
  if ((header.flags & kBulkCrc) != 0) SHEEN_TRY(CheckCrc("bulk", header.bulk_crc, part_));
  return true;
}

Message FrameReader::Take() {
  stage_ = Stage::kHeader;
  part_ = {};
  part_filled_ = 0;
  return std::exchange(message_, Message{});
}

Status FrameReader::BeginFrame() {
  SHEEN_TRY_ASSIGN(message_.header,
                   DecodeHeader(staging_.span().subspan(staged_begin_, kHeaderBytes)));
  staged_begin_ += kHeaderBytes;
  const FrameHeader& header = message_.header;
  if (((header.flags & kFromServer) != 0) != peer_is_server_) {
    return Fail(Errc::kProtocol, peer_is_server_ ? "frame: the server's frame lacks from_server"
                                                 : "frame: a client claims from_server");
  }
  if (!established_ && (header.body_bytes > kHelloBodyBytesMax || header.bulk_bytes > 0)) {
    return Fail(Errc::kProtocol, "frame: body of " + std::to_string(header.body_bytes) +
                                     " and bulk of " + std::to_string(header.bulk_bytes) +
                                     " bytes before the session exists");
  }
  // Not the lambda's own size: libstdc++ 12 passes the grown capacity there.
  const size_t body_bytes = header.body_bytes;
  message_.body.resize_and_overwrite(body_bytes,
                                     [body_bytes](char*, size_t) { return body_bytes; });
  SetPart(Stage::kBody, {reinterpret_cast<std::byte*>(message_.body.data()), header.body_bytes});
  return {};
}

void FrameReader::BeginBulk(LinkHandler* handler) {
  const uint32_t size = message_.header.bulk_bytes;
  if (size == 0) {
    SetPart(Stage::kBulk, {});
    return;
  }
  const MutableByteSpan sink = handler->SinkFor(message_.header);
  if (sink.size() >= size) {
    SetPart(Stage::kBulk, sink.first(size));
    message_.bulk_view = part_;
    return;
  }
  message_.bulk = io::Buffer::Allocate(size);
  SetPart(Stage::kBulk, message_.bulk.span());
}

bool FrameReader::FillPart() {
  const size_t count = std::min(staged(), part_.size() - part_filled_);
  if (count > 0) {
    std::memcpy(part_.data() + part_filled_, staging_.data() + staged_begin_, count);
    staged_begin_ += count;
    part_filled_ += count;
  }
  return part_filled_ == part_.size();
}

void FrameReader::SetPart(Stage stage, MutableByteSpan part) {
  stage_ = stage;
  part_ = part;
  part_filled_ = 0;
}

}  // namespace sheen::rpc
