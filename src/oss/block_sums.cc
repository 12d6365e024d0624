#include "oss/block_sums.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/crc32c.h"

namespace sheen::oss {
namespace {

uint64_t PieceCount(uint64_t offset, uint64_t length, uint32_t block_bytes) {
  if (length == 0) return 0;
  return (offset + length - 1) / block_bytes - offset / block_bytes + 1;
}

// The part of `data`, which begins at `offset`, up to the next multiple of `block_bytes`.
ByteSpan FirstPiece(uint64_t offset, ByteSpan data, uint32_t block_bytes) {
  return data.first(std::min<uint64_t>(data.size(), block_bytes - offset % block_bytes));
}

}  // namespace

void AppendBlockSums(uint64_t offset, ByteSpan data, uint32_t block_bytes, BlockSums* out) {
  out->Reserve(static_cast<int>(PieceCount(offset, data.size(), block_bytes)));
  while (!data.empty()) {
    const ByteSpan piece = FirstPiece(offset, data, block_bytes);
    out->Add(Crc32c(piece));
    data = data.subspan(piece.size());
    offset += piece.size();
  }
}

Status CheckBlockSums(uint64_t offset, ByteSpan data, uint32_t block_bytes, const BlockSums& sums) {
  if (sums.empty()) return {};
  if (block_bytes < kBlockBytesMin || block_bytes > kBlockBytesMax) {
    return Fail(Errc::kInvalid, fmt::format("checksum block of {} bytes", block_bytes));
  }
  const uint64_t pieces = PieceCount(offset, data.size(), block_bytes);
  if (static_cast<uint64_t>(sums.size()) != pieces) {
    return Fail(Errc::kInvalid,
                fmt::format("{} checksums came with {} blocks", sums.size(), pieces));
  }
  for (const uint32_t expected : sums) {
    const ByteSpan piece = FirstPiece(offset, data, block_bytes);
    const uint32_t found = Crc32c(piece);
    if (found != expected) {
      return Fail(Errc::kCorrupt,
                  fmt::format("{} bytes at {} arrived with checksum {:08x}, {:08x} expected; they "
                              "were not written",
                              piece.size(), offset, found, expected));
    }
    data = data.subspan(piece.size());
    offset += piece.size();
  }
  return {};
}

}  // namespace sheen::oss
