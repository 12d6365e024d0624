#include "fuse/late_requests.h"

#include <fcntl.h>

#include <cstring>

#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

// The string at `offset` behind the header.
std::string TextAt(ByteSpan message, size_t offset) {
  const size_t at = sizeof(fuse_in_header) + offset;
  if (at >= message.size()) return {};
  const char* text = reinterpret_cast<const char*>(message.data()) + at;
  return {text, ::strnlen(text, message.size() - at)};
}

uint64_t NodeAt(ByteSpan message, size_t offset) {
  const size_t at = sizeof(fuse_in_header) + offset;
  if (at + sizeof(uint64_t) > message.size()) return 0;
  return LoadLittle<uint64_t>(message.data() + at);
}

void ReadRename(ByteSpan message, size_t argument_bytes, Subject* subject) {
  subject->nodes[1] = NodeAt(message, 0);  // newdir comes first in both forms
  subject->names[0] = TextAt(message, argument_bytes);
  subject->names[1] = TextAt(message, argument_bytes + subject->names[0].size() + 1);
}

}  // namespace

Subject SubjectOf(uint32_t opcode, ByteSpan message) {
  Subject subject;
  if (message.size() < sizeof(fuse_in_header)) return subject;
  subject.nodes[0] = LoadLittle<uint64_t>(message.data() + offsetof(fuse_in_header, nodeid));
  switch (opcode) {
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_SYMLINK:
      subject.names[0] = TextAt(message, 0);
      break;
    case FUSE_MKDIR:
      subject.names[0] = TextAt(message, sizeof(fuse_mkdir_in));
      break;
    case FUSE_MKNOD:
      subject.names[0] = TextAt(message, sizeof(fuse_mknod_in));
      break;
    case FUSE_CREATE:
      subject.names[0] = TextAt(message, sizeof(fuse_create_in));
      break;
    case FUSE_LINK:
      subject.nodes[1] = NodeAt(message, 0);
      subject.names[0] = TextAt(message, sizeof(fuse_link_in));
      break;
    case FUSE_RENAME:
      ReadRename(message, sizeof(fuse_rename_in), &subject);
      break;
    case FUSE_RENAME2:
      ReadRename(message, sizeof(fuse_rename2_in), &subject);
      break;
    default:
      break;
  }
  return subject;
}

Overtaking OvertakingOf(uint32_t opcode, ByteSpan message) {
  switch (opcode) {
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return Overtaking::kDeferred;
    case FUSE_OPEN: {
      if (message.size() < sizeof(fuse_in_header) + sizeof(fuse_open_in)) break;
      const auto flags = LoadLittle<uint32_t>(message.data() + sizeof(fuse_in_header) +
                                              offsetof(fuse_open_in, flags));
      return (flags & O_TRUNC) != 0 ? Overtaking::kWaits : Overtaking::kAllowed;
    }
    case FUSE_WRITE:
    case FUSE_SETATTR:
    case FUSE_FALLOCATE:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
    case FUSE_CREATE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return Overtaking::kWaits;
    default:
      break;
  }
  return Overtaking::kAllowed;
}

bool IsFollowed(uint32_t opcode) {
  return opcode != FUSE_GETLK && opcode != FUSE_SETLK && opcode != FUSE_SETLKW;
}

void LateRequests::Begin(const Subject& subject, bool changes) {
  const std::scoped_lock lock(mutex_);
  for (const uint64_t node : subject.nodes) {
    if (node == 0) continue;
    Count& count = nodes_[node];
    ++count.all;
    if (changes) ++count.changing;
  }
  count_.fetch_add(1, std::memory_order_release);
}

void LateRequests::End(const Subject& subject, bool changes) {
  const std::scoped_lock lock(mutex_);
  for (const uint64_t node : subject.nodes) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) continue;
    if (changes) --found->second.changing;
    if (--found->second.all == 0) nodes_.erase(found);
  }
  count_.fetch_sub(1, std::memory_order_release);
}

bool LateRequests::Hold(const Subject& subject, Overtaking rule) const {
  if (rule == Overtaking::kAllowed) return false;
  const std::scoped_lock lock(mutex_);
  for (const uint64_t node : subject.nodes) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) continue;
    if (rule == Overtaking::kDeferred || found->second.changing > 0) return true;
  }
  return false;
}

}  // namespace sheen::fuse
