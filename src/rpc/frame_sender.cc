#include "rpc/frame_sender.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"
#include "base/log.h"

namespace sheen::rpc {
namespace {

// A batch ends with the frame that reaches this: the buffers of sent frames are freed batch by
// batch, and a socket takes no more than a few MiB at a time anyway.
constexpr size_t kBatchBytes = size_t{1} << 20;

}  // namespace

void FrameSender::Push(Message message) {
  SHEEN_ASSERT(message.body.size() <= kBodyBytesMax);
  SHEEN_ASSERT(message.bulk_bytes().size() <= kBulkBytesMax);
  pending_.push_back({.header = {}, .sealed = false, .message = std::move(message)});
  queued_bytes_ += pending_.back().size();
}

msghdr* FrameSender::Prepare() {
  if (first_ == sending_.size()) {
    sending_.clear();
    first_ = 0;
    first_offset_ = 0;
    sending_.swap(pending_);
  }
  if (sending_.empty()) return nullptr;
  part_count_ = 0;
  size_t bytes = 0;
  const size_t end = std::min(sending_.size(), first_ + kFramesMax);
  for (size_t i = first_; i < end && bytes < kBatchBytes; ++i) {
    Seal(&sending_[i]);
    AddParts(sending_[i], i == first_ ? first_offset_ : 0);
    bytes += sending_[i].size();
  }
  prepared_bytes_ = bytes - first_offset_;
  header_ = {};
  header_.msg_iov = parts_.data();
  header_.msg_iovlen = part_count_;
  return &header_;
}

void FrameSender::Advance(size_t count) {
  SHEEN_ASSERT(count <= queued_bytes_);
  queued_bytes_ -= count;
  first_offset_ += count;
  while (first_ < sending_.size() && first_offset_ >= sending_[first_].size()) {
    first_offset_ -= sending_[first_].size();
    sending_[first_].message = {};  // frees the bulk
    ++first_;
  }
}

void FrameSender::Clear() {
  pending_.clear();
  sending_.clear();
  first_ = 0;
  first_offset_ = 0;
  queued_bytes_ = 0;
}

void FrameSender::Seal(Outgoing* frame) {
  if (frame->sealed) return;
  FrameHeader header = frame->message.header;
  const ByteSpan body = AsBytes(frame->message.body);
  const ByteSpan bulk = frame->message.bulk_bytes();
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.bulk_bytes = static_cast<uint32_t>(bulk.size());
  uint16_t flags = header.flags & static_cast<uint16_t>(~kFromServer);
  if (options_.is_server) flags |= kFromServer;
  if (options_.checksums) flags |= kBodyCrc | kBulkCrc;
  if (body.empty()) flags &= static_cast<uint16_t>(~kBodyCrc);
  if (bulk.empty()) flags &= static_cast<uint16_t>(~kBulkCrc);
  header.flags = flags;
  header.body_crc = (flags & kBodyCrc) != 0 ? Crc32c(body) : 0;
  header.bulk_crc = (flags & kBulkCrc) != 0 ? Crc32c(bulk) : 0;
  frame->header = EncodeHeader(header);
  frame->sealed = true;
}

void FrameSender::AddParts(const Outgoing& frame, size_t skip) {
  AddPart(frame.header, &skip);
  AddPart(AsBytes(frame.message.body), &skip);
  AddPart(frame.message.bulk_bytes(), &skip);
}

void FrameSender::AddPart(ByteSpan part, size_t* skip) {
  const size_t cut = std::min(*skip, part.size());
  *skip -= cut;
  part = part.subspan(cut);
  if (part.empty()) return;
  parts_[part_count_++] = {const_cast<std::byte*>(part.data()), part.size()};
}

}  // namespace sheen::rpc
