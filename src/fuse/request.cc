#include "fuse/request.h"

#include <sys/mman.h>

#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

bool HasFlag(ByteSpan message, size_t offset, uint32_t flag) {
  const size_t at = sizeof(fuse_in_header) + offset;
  if (message.size() < at + sizeof(uint32_t)) return false;
  return (LoadLittle<uint32_t>(message.data() + at) & flag) != 0;
}

}  // namespace

DetachedRequest::~DetachedRequest() {
  if (mapping != nullptr) ::munmap(mapping, mapping_bytes);
}

bool AsksToKillSuidgid(uint32_t opcode, ByteSpan message) {
  switch (opcode) {
    case FUSE_WRITE:
      return HasFlag(message, offsetof(fuse_write_in, write_flags), FUSE_WRITE_KILL_SUIDGID);
    case FUSE_SETATTR:
      return HasFlag(message, offsetof(fuse_setattr_in, valid), FATTR_KILL_SUIDGID);
    case FUSE_OPEN:
      return HasFlag(message, offsetof(fuse_open_in, open_flags), FUSE_OPEN_KILL_SUIDGID);
    case FUSE_CREATE:
      return HasFlag(message, offsetof(fuse_create_in, open_flags), FUSE_OPEN_KILL_SUIDGID);
    default:
      return false;
  }
}

}  // namespace sheen::fuse
