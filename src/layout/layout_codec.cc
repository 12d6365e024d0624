// The layout format, version 1: inodes on the MDT, messages, xattrs. Little-endian, no padding.
//
//   layout    = header component* crc
//   header    (40 bytes)
//      0  u32  magic        "SHLY"
//      4  u16  version      1; a reader refuses a higher one
//      6  u16  flags        bit 0: composite; the rest 0
//      8  u64  incompat     feature bits; a reader refuses one that it does not know
//     16  u64  compat       feature bits that a reader may ignore
//     24  u32  total_bytes  of all this, header to crc
//     28  u32  generation
//     32  u32  block_bytes  unit of data checksums
//     36  u32  count        components, at most 64
//   component (4 + 64 bytes + sections)
//      0  u32  bytes        of what follows: a reader finds the next component by it
//      4  u32  id
//      8  u32  reserved     0
//     12  u64  start
//     20  u64  end          2^64-1: end of file
//     28  u64  stripe_bytes
//     36  u32  stripe_count 2^32-1: all OSTs (template)
//     40  u32  first_ost    2^32-1: any
//     44  u64  birth        0: not instantiated
//     52  u64  object_seq   object FID; 0 when not instantiated
//     60  u32  object_oid
//     64  u32  object_ver
//   section   (8 bytes + body), in rising order of type, each type at most once; empty ones left
//   out
//      0  u16  type
//      2  u16  flags        bit 0: a reader that does not know the type must refuse the layout
//      4  u32  bytes        of the body
//     type 1  wanted_osts   u32 each
//     type 2  osts          u32 each, stripe_count of them when instantiated
//     type 3  present       bit i of byte i/8: stripe i; ceil(stripes/8) bytes, left out when none
//     type 4  pool          characters
//     type 5  S3 source: u32 link, key, ETag (each u32 length and bytes), u64 source end: file
//             bytes from it on are holes, whatever S3 holds. Comes with incompat bit 0 and section
//             flag bit 0, since a reader that ignores it would read holes for data. Only of an
//             instantiated component that starts at 0, with stripes of whole MiB.
//     type 6  flags         u32: 2 prefrd, 4 prefwr; left out when 0
//   crc       u32  CRC32C of everything before it
//
// Valid: every length fits, crc is right, and the result passes layout::Validate, except that a
// layout without components is allowed (a file made by mknod). Unknown sections without flag bit 0
// are skipped and are gone when the layout is written again. Counts are checked against the bytes
// that are there before anything is allocated.
#include <algorithm>

#include "base/crc32c.h"
#include "layout/layout.h"

namespace sheen::layout {

namespace {

constexpr uint32_t kMagic = 0x594C4853;  // "SHLY"
constexpr uint16_t kVersion = 1;
constexpr uint16_t kFlagComposite = 1;
constexpr uint64_t kIncompatSource = 1;
constexpr uint64_t kIncompatOverstriped = 2;
constexpr uint64_t kIncompatKnown = kIncompatSource | kIncompatOverstriped;
constexpr uint32_t kComponentOverstriped = 1;
constexpr size_t kSourceTextBytesMax = 1024;
constexpr uint64_t kSourceStripeUnit = 1 << 20;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kComponentBytes = 64;
constexpr size_t kTotalBytesOffset = 24;
constexpr uint16_t kSectionMustKnow = 1;
// 64 components of 2000 stripes with wanted and chosen OSTs are below it.
constexpr size_t kBytesMax = 2 << 20;

enum Section : uint16_t {
  kWantedOsts = 1,
  kOsts = 2,
  kPresent = 3,
  kPool = 4,
  kSource = 5,
  kFlags = 6,
};

std::unexpected<Error> Corrupt(std::string_view what) {
  return Fail(Errc::kCorrupt, "layout: " + std::string(what));
}

void PutSection(Encoder* out, Section type, std::string_view body, uint16_t flags = 0) {
  if (body.empty()) return;
  out->U16(type);
  out->U16(flags);
  out->Bytes(body);
}

std::string PackOsts(const std::vector<uint32_t>& osts) {
  Encoder out;
  for (const uint32_t ost : osts) out.U32(ost);
  return out.Take();
}

std::string PackBits(const std::vector<bool>& bits) {
  std::string out((bits.size() + 7) / 8, '\0');
  bool any = false;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (!bits[i]) continue;
    any = true;
    out[i / 8] = static_cast<char>(static_cast<uint8_t>(out[i / 8]) | 1U << i % 8);
  }
  return any ? out : std::string();
}

std::string PackSource(const Source& source) {
  Encoder out;
  out.U32(source.link);
  out.Bytes(source.key);
  out.Bytes(source.etag);
  out.U64(source.end);
  return out.Take();
}

std::string EncodeComponent(const Component& component) {
  Encoder out;
  out.U32(component.id);
  out.U32(component.overstriped ? kComponentOverstriped : 0);
  out.U64(component.start);
  out.U64(component.end);
  out.U64(component.stripe_bytes);
  out.U32(component.stripe_count);
  out.U32(component.first_ost);
  out.U64(component.birth);
  out.U64(component.object_fid.seq);
  out.U32(component.object_fid.oid);
  out.U32(component.object_fid.ver);
  PutSection(&out, kWantedOsts, PackOsts(component.wanted_osts));
  PutSection(&out, kOsts, PackOsts(component.osts));
  PutSection(&out, kPresent, PackBits(component.present));
  PutSection(&out, kPool, component.pool);
  if (component.source) {
    PutSection(&out, kSource, PackSource(*component.source), kSectionMustKnow);
  }
  if (component.flags != 0) {
    Encoder flags;
    flags.U32(component.flags);
    PutSection(&out, kFlags, flags.Take());
  }
  return out.Take();
}

Status UnpackSource(std::string_view body, Component* component) {
  Decoder in(body);
  Source source;
  source.link = in.U32();
  source.key = in.Bytes();
  source.etag = in.Bytes();
  source.end = in.U64();
  const bool fits = in.done() && !source.key.empty() && source.end <= kFileBytesMax &&
                    source.key.size() <= kSourceTextBytesMax &&
                    source.etag.size() <= kSourceTextBytesMax;
  if (!fits) return Corrupt("bad source");
  if (!component->instantiated() || component->start != 0 ||
      component->stripe_bytes % kSourceStripeUnit != 0) {
    return Corrupt("a source where none can be");
  }
  component->source = std::move(source);
  return {};
}

Status UnpackOsts(std::string_view body, std::vector<uint32_t>* osts) {
  if (body.size() % sizeof(uint32_t) != 0 || body.size() / sizeof(uint32_t) > kStripeCountMax)
    return Corrupt("bad length of an OST list");
  Decoder in(body);
  osts->reserve(body.size() / sizeof(uint32_t));
  while (in.remaining() > 0) osts->push_back(in.U32());
  return {};
}

Status UnpackBits(std::string_view body, std::vector<bool>* bits) {
  if (body.size() != (bits->size() + 7) / 8) return Corrupt("bad length of the presence bits");
  for (size_t i = 0; i < body.size() * 8; ++i) {
    const bool bit = (static_cast<uint8_t>(body[i / 8]) >> i % 8 & 1U) != 0;
    if (i < bits->size()) {
      (*bits)[i] = bit;
    } else if (bit) {
      return Corrupt("presence bits beyond the last stripe");
    }
  }
  return {};
}

Status DecodeSections(Decoder* in, Component* component) {
  int last_type = 0;
  while (in->remaining() > 0) {
    const uint16_t type = in->U16();
    const uint16_t flags = in->U16();
    const std::string_view body = in->Bytes();
    if (!in->ok()) return Corrupt("a section is cut off");
    if (type <= last_type) return Corrupt("sections out of order");
    last_type = type;
    if (type == kWantedOsts) {
      SHEEN_TRY(UnpackOsts(body, &component->wanted_osts));
    } else if (type == kOsts) {
      SHEEN_TRY(UnpackOsts(body, &component->osts));
      component->present.resize(component->osts.size());
    } else if (type == kPresent) {
      SHEEN_TRY(UnpackBits(body, &component->present));
    } else if (type == kPool) {
      component->pool = body;
    } else if (type == kSource) {
      SHEEN_TRY(UnpackSource(body, component));
    } else if (type == kFlags) {
      Decoder bits(body);
      component->flags = bits.U32();
      if (!bits.done()) return Corrupt("bad component flags");
    } else if ((flags & kSectionMustKnow) != 0) {
      return Fail(Errc::kBadVersion, "layout: section type " + std::to_string(type) +
                                         " is not known here: written by a newer version");
    }
  }
  return {};
}

Status DecodeComponent(Decoder* in, Component* component) {
  const std::string_view bytes = in->Bytes();
  if (!in->ok() || bytes.size() < kComponentBytes) return Corrupt("a component is cut off");
  Decoder body(bytes);
  component->id = body.U32();
  const uint32_t flags = body.U32();
  if ((flags & ~kComponentOverstriped) != 0) return Corrupt("reserved bytes are used");
  component->overstriped = flags == kComponentOverstriped;
  component->start = body.U64();
  component->end = body.U64();
  component->stripe_bytes = body.U64();
  component->stripe_count = body.U32();
  component->first_ost = body.U32();
  component->birth = body.U64();
  component->object_fid.seq = body.U64();
  component->object_fid.oid = body.U32();
  component->object_fid.ver = body.U32();
  return DecodeSections(&body, component);
}

// The header, with `in` left at the first component.
Status DecodeHeader(Decoder* in, size_t bytes, Layout* layout, uint32_t* count) {
  if (bytes > kBytesMax) return Corrupt("too long");
  if (in->U32() != kMagic) return Corrupt("bad magic");
  const uint16_t version = in->U16();
  const uint16_t flags = in->U16();
  const uint64_t incompat = in->U64();
  in->U64();  // compat features
  const uint32_t total_bytes = in->U32();
  layout->generation = in->U32();
  layout->block_bytes = in->U32();
  *count = in->U32();
  if (!in->ok()) return Corrupt("header is cut off");
  if (version != kVersion)
    return Fail(Errc::kBadVersion, "layout: version " + std::to_string(version) +
                                       " is not known here: written by a newer version");
  if ((incompat & ~kIncompatKnown) != 0)
    return Fail(Errc::kBadVersion, "layout: feature bits " + std::to_string(incompat) +
                                       " are not known here: written by a newer version");
  if (total_bytes != bytes) return Corrupt("bad total length");
  if ((flags & ~kFlagComposite) != 0) return Corrupt("unknown flags");
  layout->composite = (flags & kFlagComposite) != 0;
  if (*count > kComponentCountMax) return Corrupt("too many components");
  if (*count > in->remaining() / (sizeof(uint32_t) + kComponentBytes))
    return Corrupt("more components than bytes");
  return {};
}

}  // namespace

std::string Encode(const Layout& layout) {
  Encoder out;
  out.U32(kMagic);
  out.U16(kVersion);
  out.U16(layout.composite ? kFlagComposite : 0);
  const bool has_source = std::ranges::any_of(
      layout.components, [](const Component& component) { return component.source.has_value(); });
  const bool overstriped = std::ranges::any_of(layout.components, &Component::overstriped);
  out.U64((has_source ? kIncompatSource : 0) | (overstriped ? kIncompatOverstriped : 0));
  out.U64(0);
  out.U32(0);  // total_bytes, below
  out.U32(layout.generation);
  out.U32(layout.block_bytes);
  out.U32(static_cast<uint32_t>(layout.components.size()));
  static_assert(kHeaderBytes == 4 + 2 + 2 + 8 + 8 + 4 + 4 + 4 + 4);
  for (const Component& component : layout.components) out.Bytes(EncodeComponent(component));
  std::string bytes = out.Take();
  StoreLittle<uint32_t>(bytes.data() + kTotalBytesOffset,
                        static_cast<uint32_t>(bytes.size() + sizeof(uint32_t)));
  const uint32_t crc = Crc32c(AsBytes(bytes));
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof crc);
  return bytes;
}

Result<Layout> Decode(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + sizeof(uint32_t)) return Corrupt("too short");
  Layout layout;
  uint32_t count = 0;
  const std::string_view content = bytes.substr(0, bytes.size() - sizeof(uint32_t));
  Decoder in(content);
  SHEEN_TRY(DecodeHeader(&in, bytes.size(), &layout, &count));
  const auto expected = LoadLittle<uint32_t>(bytes.data() + content.size());
  const uint32_t found = Crc32c(AsBytes(content));
  if (expected != found)
    return Corrupt("checksum is " + std::to_string(found) + ", not " + std::to_string(expected));
  layout.components.resize(count);
  for (Component& component : layout.components) SHEEN_TRY(DecodeComponent(&in, &component));
  if (!in.done()) return Corrupt("bytes after the last component");
  if (layout.empty()) return layout;
  const Status valid = Validate(layout);
  if (!valid) return Corrupt(valid.error().message());
  return layout;
}

}  // namespace sheen::layout
