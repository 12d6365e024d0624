// The source section of an object record, little-endian:
//
//   u8   version       1
//   u8   reserved      0, three times
//   u32  link          id of the data repository
//   u32  length, key   at most 1024 bytes
//   u32  length, etag  at most 1024 bytes
//   u64  stripe_bytes  a multiple of the block; where the object's bytes lie in the file
//   u32  stripe_count
//   u32  stripe
//   u64  bytes         of the object that may be in S3
//   u64  machine       of unsynced blocks: FNV-1a of the kernel's boot id
//   u32  run_count     of blocks in one state, in order, neighbours different
//        runs          each u8 state, u32 blocks (> 0)
//
// Valid: the runs are exactly ceil(bytes / 1 MiB) blocks, states are known, the stripe is below the
// count, nothing is left over.
#include "ost/residency.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "layout/layout.h"

namespace sheen::ost {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kTextBytesMax = 1024;
constexpr size_t kRunBytes = 5;

uint64_t BlocksFor(uint64_t bytes) {
  return bytes / kResidencyBlockBytes + (bytes % kResidencyBlockBytes != 0 ? 1 : 0);
}

std::unexpected<Error> Corrupt(std::string_view what) {
  return Fail(Errc::kCorrupt, fmt::format("object record, source: {}", what));
}

Status CheckSource(const ObjectSource& source) {
  if (source.key.empty() || source.key.size() > kTextBytesMax ||
      source.etag.size() > kTextBytesMax) {
    return Corrupt("key or ETag has a wrong length");
  }
  if (source.stripe_bytes == 0 || source.stripe_bytes % kResidencyBlockBytes != 0 ||
      source.stripe_bytes > layout::kStripeBytesMax || source.stripe_count == 0 ||
      source.stripe_count > layout::kStripeCountMax || source.stripe >= source.stripe_count ||
      source.bytes > layout::kFileBytesMax) {
    return Corrupt("its striping is not possible");
  }
  return {};
}

}  // namespace

uint64_t ObjectSource::FileOffset(uint64_t object_offset) const {
  const uint64_t row = object_offset / stripe_bytes;
  return (row * stripe_count + stripe) * stripe_bytes + object_offset % stripe_bytes;
}

Residency Residency::AllAbsent(ObjectSource object_source) {
  Residency out;
  out.blocks.assign(BlocksFor(object_source.bytes), BlockState::kAbsent);
  out.source = std::move(object_source);
  return out;
}

Residency::Part Residency::PartOf(uint64_t block) const {
  return {block * kResidencyBlockBytes,
          std::min((block + 1) * kResidencyBlockBytes, source.bytes)};
}

Residency::Blocks Residency::Touched(uint64_t offset, uint64_t length) const {
  const uint64_t end = length > source.bytes - std::min(offset, source.bytes)
                           ? source.bytes
                           : offset + length;
  if (length == 0 || offset >= end) return {};
  return {offset / kResidencyBlockBytes, BlocksFor(end)};
}

bool Residency::Covers(uint64_t offset, uint64_t length, uint64_t block) const {
  const Part part = PartOf(block);
  return offset <= part.begin && part.end - offset <= length;
}

std::vector<uint64_t> Residency::Needed(uint64_t offset, uint64_t length, bool change,
                                        size_t blocks_max) const {
  std::vector<uint64_t> out;
  const Blocks touched = Touched(offset, length);
  for (uint64_t block = touched.first; block < touched.last && out.size() < blocks_max; ++block) {
    if (blocks[block] != BlockState::kAbsent) continue;
    if (!change || !Covers(offset, length, block)) out.push_back(block);
  }
  return out;
}

uint64_t Residency::AbsentUntil(uint64_t offset) const {
  if (offset >= source.bytes) return 0;
  const uint64_t block = offset / kResidencyBlockBytes;
  return blocks[block] == BlockState::kAbsent ? PartOf(block).end : 0;
}

uint64_t Residency::NextAbsent(uint64_t offset) const {
  for (uint64_t block = offset / kResidencyBlockBytes; block < blocks.size(); ++block) {
    if (blocks[block] != BlockState::kAbsent || PartOf(block).end <= offset) continue;
    return std::max(offset, PartOf(block).begin);
  }
  return UINT64_MAX;
}

void Residency::CutTo(uint64_t bytes) {
  if (bytes >= source.bytes) return;
  source.bytes = bytes;
  blocks.resize(BlocksFor(bytes));
}

void Residency::ForgetUnsynced(uint64_t current_machine) {
  if (machine == current_machine) return;
  std::ranges::replace(blocks, BlockState::kUnsynced, BlockState::kAbsent);
  machine = current_machine;
}

uint64_t Residency::CountBytes(BlockState state) const {
  uint64_t bytes = 0;
  for (uint64_t block = 0; block < blocks.size(); ++block) {
    if (blocks[block] == state) bytes += PartOf(block).end - PartOf(block).begin;
  }
  return bytes;
}

std::string EncodeResidency(const Residency& residency) {
  Encoder out;
  out.U8(kVersion);
  for (int i = 0; i < 3; ++i) out.U8(0);
  const ObjectSource& source = residency.source;
  out.U32(source.link);
  out.Bytes(source.key);
  out.Bytes(source.etag);
  out.U64(source.stripe_bytes);
  out.U32(source.stripe_count);
  out.U32(source.stripe);
  out.U64(source.bytes);
  out.U64(residency.machine);
  Encoder runs;
  uint32_t run_count = 0;
  for (size_t begin = 0; begin < residency.blocks.size(); ++run_count) {
    size_t end = begin + 1;
    while (end < residency.blocks.size() && residency.blocks[end] == residency.blocks[begin]) ++end;
    runs.U8(static_cast<uint8_t>(residency.blocks[begin]));
    runs.U32(static_cast<uint32_t>(end - begin));
    begin = end;
  }
  out.U32(run_count);
  return out.Take() + runs.Take();
}

Result<Residency> DecodeResidency(std::string_view bytes) {
  Decoder in(bytes);
  const uint8_t version = in.U8();
  if (version != kVersion) {
    return Fail(Errc::kBadVersion, fmt::format("object record, source: version {}", version));
  }
  const uint32_t reserved = in.U8() | in.U8() | in.U8();
  Residency out;
  out.source.link = in.U32();
  out.source.key = in.Bytes();
  out.source.etag = in.Bytes();
  out.source.stripe_bytes = in.U64();
  out.source.stripe_count = in.U32();
  out.source.stripe = in.U32();
  out.source.bytes = in.U64();
  out.machine = in.U64();
  const uint32_t run_count = in.U32();
  if (!in.ok() || reserved != 0) return Corrupt("is cut off");
  SHEEN_TRY(CheckSource(out.source));
  if (in.remaining() != run_count * kRunBytes) return Corrupt("its runs do not fill it");
  const uint64_t wanted = BlocksFor(out.source.bytes);
  for (uint32_t i = 0; i < run_count; ++i) {
    const uint8_t state = in.U8();
    const uint32_t count = in.U32();
    if (state > static_cast<uint8_t>(BlockState::kUnsynced)) return Corrupt("unknown block state");
    if (count == 0 || count > wanted - out.blocks.size()) return Corrupt("too many blocks");
    out.blocks.insert(out.blocks.end(), count, static_cast<BlockState>(state));
  }
  if (out.blocks.size() != wanted) return Corrupt("too few blocks");
  return out;
}

}  // namespace sheen::ost
