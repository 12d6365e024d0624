// Frame headers: whatever decodes encodes to the same bytes, and its lengths are within the limits.

#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "rpc/frame.h"

namespace sheen::rpc {
namespace {

void Check(ByteSpan bytes) {
  const Result<FrameHeader> header = DecodeHeader(bytes);
  if (!header) return;
  if (header->body_bytes > kBodyBytesMax || header->bulk_bytes > kBulkBytesMax) std::abort();
  const HeaderBytes again = EncodeHeader(*header);
  if (std::memcmp(again.data(), bytes.data(), kHeaderBytes) != 0) std::abort();
}

}  // namespace
}  // namespace sheen::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sheen::rpc::kHeaderBytes;
  const sheen::ByteSpan input(reinterpret_cast<const std::byte*>(data), size);
  sheen::rpc::Check(input);
  if (size < kHeaderBytes) return 0;
  // Past the checksum: the same bytes with the right one.
  sheen::rpc::HeaderBytes mended;
  std::memcpy(mended.data(), data, kHeaderBytes);
  const uint32_t crc = sheen::Crc32c(sheen::ByteSpan(mended).first(kHeaderBytes - 4));
  sheen::StoreLittle(mended.data() + kHeaderBytes - 4, crc);
  sheen::rpc::Check(mended);
  return 0;
}
