#include "client/lov_xattr.h"

#include <algorithm>

#include "base/bytes.h"

namespace sheen::client {
namespace {

constexpr uint32_t kMagicV1 = 0x0BD10BD0;
constexpr uint32_t kMagicV3 = 0x0BD30BD0;
constexpr uint32_t kMagicSpecific = 0x0BD50BD0;
constexpr uint32_t kMagicComposite = 0x0BD60BD0;
constexpr uint32_t kPatternRaid0 = 1;
constexpr uint32_t kPatternOverstriping = 0x200;
constexpr uint32_t kEntryInit = 0x10;
constexpr size_t kPoolBytes = 16;
constexpr size_t kHeaderBytes = 32;  // of v1 and of a composite
constexpr size_t kEntryBytes = 48;
constexpr uint16_t kAll16 = 0xFFFF;

uint16_t StripeCountField(const layout::Component& component) {
  if (component.instantiated()) return static_cast<uint16_t>(component.osts.size());
  return component.stripe_count == layout::kAllOsts ? kAll16
                                                    : static_cast<uint16_t>(component.stripe_count);
}

uint16_t OffsetField(const layout::Component& component, uint32_t generation) {
  if (component.instantiated()) return static_cast<uint16_t>(generation);
  return component.first_ost == layout::kAnyOst ? kAll16
                                                : static_cast<uint16_t>(component.first_ost);
}

std::string EncodePlain(const layout::Component& component, uint32_t generation, const Fid& fid) {
  const bool specific = !component.instantiated() && !component.wanted_osts.empty();
  const bool has_pool = specific || !component.pool.empty();
  Encoder out;
  out.U32(specific ? kMagicSpecific : has_pool ? kMagicV3 : kMagicV1);
  out.U32(component.overstriped ? kPatternRaid0 | kPatternOverstriping : kPatternRaid0);
  out.U64(fid.oid);
  out.U64(fid.seq);
  out.U32(static_cast<uint32_t>(component.stripe_bytes));
  out.U16(StripeCountField(component));
  out.U16(OffsetField(component, generation));
  if (has_pool) {
    std::string pool = component.pool.substr(0, kPoolBytes);
    pool.resize(kPoolBytes, '\0');
    out.Raw(pool.data(), pool.size());
  }
  const std::vector<uint32_t>& osts = specific ? component.wanted_osts : component.osts;
  for (const uint32_t ost : osts) {
    out.U64(component.object_fid.oid);
    out.U64(component.object_fid.seq);
    out.U32(0);
    out.U32(ost);
  }
  return out.Take();
}

std::string EncodeComposite(const layout::Layout& layout, const Fid& fid) {
  std::vector<std::string> blobs;
  size_t total = kHeaderBytes + layout.components.size() * kEntryBytes;
  for (const layout::Component& component : layout.components) {
    blobs.push_back(EncodePlain(component, layout.generation, fid));
    total += blobs.back().size();
  }
  Encoder out;
  out.U32(kMagicComposite);
  out.U32(static_cast<uint32_t>(total));
  out.U32(layout.generation);
  out.U16(0);
  out.U16(static_cast<uint16_t>(layout.components.size()));
  out.U64(0);
  out.U64(0);
  size_t offset = kHeaderBytes + layout.components.size() * kEntryBytes;
  for (size_t i = 0; i < blobs.size(); ++i) {
    const layout::Component& component = layout.components[i];
    out.U32(component.id);
    out.U32(component.flags | (component.instantiated() ? kEntryInit : 0));
    out.U64(component.start);
    out.U64(component.end);
    out.U32(static_cast<uint32_t>(offset));
    out.U32(static_cast<uint32_t>(blobs[i].size()));
    out.U32(layout.generation);
    out.U64(0);
    out.U32(0);
    offset += blobs[i].size();
  }
  for (const std::string& blob : blobs) out.Raw(blob.data(), blob.size());
  return out.Take();
}

// Into everything but start, end and id.
Status DecodePlain(std::string_view value, layout::Component* component) {
  Decoder in(value);
  const uint32_t magic = in.U32();
  if (magic != kMagicV1 && magic != kMagicV3 && magic != kMagicSpecific) {
    return Fail(Errc::kInvalid, "lov xattr: unknown magic of a component");
  }
  const uint32_t pattern = in.U32();
  in.U64();
  in.U64();
  const uint32_t stripe_bytes = in.U32();
  const uint16_t stripe_count = in.U16();
  const uint16_t first_ost = in.U16();
  std::string_view pool;
  if (magic != kMagicV1) pool = in.Raw(kPoolBytes);
  if (!in.ok()) return Fail(Errc::kInvalid, "lov xattr: shorter than its header");
  component->overstriped = (pattern & kPatternOverstriping) != 0;
  if ((pattern & ~kPatternOverstriping) > kPatternRaid0) {
    return Fail(Errc::kInvalid, "lov xattr: the only pattern known is raid0");
  }
  if (stripe_bytes != 0) component->stripe_bytes = stripe_bytes;
  if (stripe_count != 0) component->stripe_count = stripe_count;
  if (stripe_count == kAll16) component->stripe_count = layout::kAllOsts;
  component->pool = std::string(pool.substr(0, pool.find('\0')));
  if (magic != kMagicSpecific) {
    const bool saved = in.remaining() > 0;
    if (!saved && first_ost != 0 && first_ost != kAll16) component->first_ost = first_ost;
    return {};
  }
  for (uint16_t i = 0; i < stripe_count; ++i) {
    in.Raw(20);
    component->wanted_osts.push_back(in.U32());
    if (!in.ok()) return Fail(Errc::kInvalid, "lov xattr: fewer OSTs listed than stripes");
  }
  return {};
}

Result<layout::Layout> DecodeComposite(std::string_view value) {
  Decoder in(value);
  in.U32();
  const uint32_t size = in.U32();
  in.U32();
  in.U16();
  const uint16_t count = in.U16();
  in.U64();
  in.U64();
  if (!in.ok() || size > value.size()) return Fail(Errc::kInvalid, "lov xattr: cut off");
  if (count == 0 || count > layout::kComponentCountMax) {
    return Fail(Errc::kInvalid, "lov xattr: bad number of components");
  }
  layout::Layout layout;
  layout.composite = true;
  for (uint16_t i = 0; i < count; ++i) {
    layout::Component component;
    in.U32();
    in.U32();
    component.id = i + 1;
    component.start = in.U64();
    component.end = in.U64();
    const uint32_t offset = in.U32();
    const uint32_t blob_bytes = in.U32();
    in.Raw(16);
    if (!in.ok() || offset > value.size() || blob_bytes > value.size() - offset) {
      return Fail(Errc::kInvalid, "lov xattr: a component lies outside the value");
    }
    SHEEN_TRY(DecodePlain(value.substr(offset, blob_bytes), &component));
    layout.components.push_back(std::move(component));
  }
  return layout;
}

}  // namespace

std::string EncodeLov(const layout::Layout& layout, const Fid& fid) {
  if (layout.empty()) return {};
  if (layout.composite || layout.components.size() > 1) return EncodeComposite(layout, fid);
  return EncodePlain(layout.components.front(), layout.generation, fid);
}

Result<layout::Layout> DecodeLov(std::string_view value) {
  if (value.size() < kHeaderBytes) return Fail(Errc::kInvalid, "lov xattr: too short");
  layout::Layout layout;
  if (LoadLittle<uint32_t>(value.data()) == kMagicComposite) {
    SHEEN_TRY_ASSIGN(layout, DecodeComposite(value));
  } else {
    layout::Component component;
    component.id = 1;
    SHEEN_TRY(DecodePlain(value, &component));
    layout.components.push_back(std::move(component));
  }
  SHEEN_TRY(layout::Validate(layout));
  return layout;
}

}  // namespace sheen::client
