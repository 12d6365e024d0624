// Striping maths. All of it is in file offsets below 2^63 and S*N below 2^43 (S < 4 GiB, N <=
// 2000), so sums stay inside 64 bits; only FileBytesFrom multiplies a size that it did not make
// itself.
#include "layout/layout.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"

namespace sheen::layout {

namespace {

__extension__ using Wide = unsigned __int128;

uint32_t StripesOf(const Component& component) {
  SHEEN_ASSERT(component.instantiated() && !component.osts.empty());
  return static_cast<uint32_t>(component.osts.size());
}

void AppendPiece(std::vector<Piece>* pieces, const Piece& piece) {
  if (!pieces->empty()) {
    Piece& last = pieces->back();
    if (last.component == piece.component && last.stripe == piece.stripe &&
        last.file_offset + last.length == piece.file_offset &&
        last.object_offset + last.length == piece.object_offset) {
      last.length += piece.length;
      return;
    }
  }
  pieces->push_back(piece);
}

// Pieces of [offset, end), which lies inside the component.
void MapComponent(const Component& component, uint32_t index, uint64_t offset, uint64_t end,
                  std::vector<Piece>* pieces) {
  if (!component.instantiated()) {
    pieces->push_back({index, kNoStripe, offset, 0, end - offset});
    return;
  }
  const uint64_t stripe_bytes = component.stripe_bytes;
  const uint32_t stripes = StripesOf(component);
  if (stripes == 1) {  // file and object offsets are the same
    pieces->push_back({index, 0, offset, offset, end - offset});
    return;
  }
  while (offset < end) {
    const uint64_t unit = offset / stripe_bytes;
    const uint64_t inside = offset % stripe_bytes;
    const uint64_t length = std::min(end - offset, stripe_bytes - inside);
    AppendPiece(pieces, {index, static_cast<uint32_t>(unit % stripes), offset,
                         unit / stripes * stripe_bytes + inside, length});
    offset += length;
  }
}

}  // namespace

std::string ObjectId::ToString() const {
  return fmt::format("{:x}_{:x}_{:x}_{:x}", fid.seq, fid.oid, birth, stripe);
}

ObjectId ObjectOf(const Component& component, uint32_t stripe) {
  SHEEN_ASSERT(stripe < StripesOf(component));
  return {component.object_fid, component.birth, stripe};
}

std::vector<Piece> MapRange(const Layout& layout, uint64_t offset, uint64_t length) {
  SHEEN_ASSERT(offset <= kFileBytesMax && length <= kFileBytesMax - offset);
  std::vector<Piece> pieces;
  const uint64_t end = offset + length;
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const Component& component = layout.components[i];
    const uint64_t from = std::max(offset, component.start);
    const uint64_t to = std::min(end, component.end);
    if (from < to) MapComponent(component, i, from, to, &pieces);
  }
  return pieces;
}

std::optional<uint32_t> ComponentAt(const Layout& layout, uint64_t offset) {
  const auto after = std::ranges::upper_bound(layout.components, offset, {}, &Component::start);
  if (after == layout.components.begin()) return std::nullopt;
  const auto found = after - 1;
  if (!found->Covers(offset)) return std::nullopt;
  return static_cast<uint32_t>(found - layout.components.begin());
}

uint64_t LimitOf(const Layout& layout) {
  if (layout.empty()) return 0;
  return std::min(layout.components.back().end, kFileBytesMax);
}

bool NeedsInstantiation(const Layout& layout, uint64_t offset, uint64_t length) {
  const uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  return std::ranges::any_of(layout.components, [offset, end](const Component& component) {
    return !component.instantiated() &&
           std::max(offset, component.start) < std::min(end, component.end);
  });
}

uint64_t ObjectBytesFor(const Component& component, uint32_t stripe, uint64_t file_bytes) {
  const uint32_t stripes = StripesOf(component);
  SHEEN_ASSERT(stripe < stripes);
  const uint64_t end = std::min(file_bytes, component.end);
  const uint64_t stripe_bytes = component.stripe_bytes;
  const uint64_t units = end / stripe_bytes;  // whole ones, of all stripes
  uint64_t bytes = units / stripes * stripe_bytes;
  if (units % stripes > stripe) bytes += stripe_bytes;
  if (units % stripes == stripe) bytes += end % stripe_bytes;
  // What lies before the component's start belongs to another component.
  return FileBytesFrom(component, stripe, bytes) > component.start ? bytes : 0;
}

uint64_t FileBytesFrom(const Component& component, uint32_t stripe, uint64_t object_bytes) {
  if (object_bytes == 0) return 0;
  const uint64_t last = object_bytes - 1;
  const uint64_t stripe_bytes = component.stripe_bytes;
  const Wide unit = static_cast<Wide>(last / stripe_bytes) * StripesOf(component) + stripe;
  const Wide bytes = unit * stripe_bytes + last % stripe_bytes + 1;
  // An object this large cannot be ours; its size came from the network.
  return bytes > kFileBytesMax ? kFileBytesMax : static_cast<uint64_t>(bytes);
}

uint32_t StripeAt(const Component& component, uint64_t offset) {
  SHEEN_ASSERT(component.Covers(offset));
  return static_cast<uint32_t>(offset / component.stripe_bytes % StripesOf(component));
}

}  // namespace sheen::layout
