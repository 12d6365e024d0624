// Layout: where a file's bytes live. A list of components, each covering a file range [start, end)
// and striped RAID0 over objects on OSTs.
//
//   file offsets   0 ......... 100M ........ 10G ......... EOF
//   components     | 1 stripe  | 8 stripes    | 16 stripes  |      (a progressive file layout)
//
// RAID0 inside a component uses absolute file offsets: with stripe size S and count N,
//   stripe = (offset / S) % N        object offset = offset / (S*N) * S + offset % S.
// A component is instantiated (birth != 0, osts chosen) when a write or a truncate reaches it.
// An object is named by (object FID, birth, stripe index), so a new layout never meets old data.
//
// Pure: no I/O, no threads. Values are immutable once shared. The encoding (Encode, Decode) is the
// disk and wire format, described in layout_codec.cc; it carries a version and feature bits.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "fid/fid.h"
#include "sheen/result.h"

namespace sheen::layout {

inline constexpr uint64_t kEof = UINT64_MAX;             // component end: no limit
inline constexpr uint64_t kStripeBytesUnit = 64 << 10;   // stripe sizes are multiples of it
inline constexpr uint64_t kStripeBytesMax = (4ULL << 30) - kStripeBytesUnit;
inline constexpr uint64_t kStripeBytesDefault = 1 << 20;
inline constexpr uint32_t kStripeCountMax = 2000;
inline constexpr uint32_t kComponentCountMax = 64;
inline constexpr uint64_t kFileBytesMax = INT64_MAX;     // largest file size; offsets stay below
inline constexpr uint32_t kBlockBytesDefault = 4096;     // unit of data checksums
inline constexpr uint32_t kGenerationMax = UINT32_MAX - 1024;  // of a layout that is replaced

// In Component::stripe_count of a template: as many as there are OSTs.
inline constexpr uint32_t kAllOsts = UINT32_MAX;
// With `overstriped`, down to this: so many on each OST (kAllOsts - 1: two).
inline constexpr uint32_t kManyPerOst = kAllOsts - 31;
inline constexpr uint32_t kAnyOst = UINT32_MAX;          // first_ost: the server picks
// In Component::pool of a template: no pool, whatever the directory has.
inline constexpr std::string_view kIgnorePool = "ignore";

// Where the bytes of a component come from that no OST has yet: an object in S3. Only of a file's
// first component.
struct Source {
  uint32_t link = 0;           // id of the data repository, which has bucket and endpoint
  std::string key;
  std::string etag;            // with its quotes
  uint64_t end = 0;            // file bytes from it on are holes, whatever S3 holds
  bool operator==(const Source&) const = default;
};

// As Lustre numbers them. They choose between mirrors, of which a file has one here.
enum ComponentFlag : uint32_t {
  kPreferRead = 2,
  kPreferWrite = 4,
  kComponentFlagsKnown = kPreferRead | kPreferWrite,
};

struct Component {
  uint32_t id = 0;             // lcme_id; for display and lfs only
  uint64_t start = 0;
  uint64_t end = kEof;
  uint64_t stripe_bytes = kStripeBytesDefault;
  uint32_t stripe_count = 1;   // wanted; once instantiated, osts.size()
  uint32_t first_ost = kAnyOst;
  std::vector<uint32_t> wanted_osts;  // setstripe -o: fixed placement; empty = server chooses
  std::string pool;            // OSTs to choose from; empty: all, of a template the directory's
  bool overstriped = false;    // several stripes may be on one OST
  uint32_t flags = 0;          // ComponentFlag bits; kept and shown
  // Below: set when instantiated.
  Fid object_fid;
  uint64_t birth = 0;          // transno that instantiated it; 0 = not instantiated
  std::vector<uint32_t> osts;  // OST index of each stripe
  std::vector<bool> present;   // stripes known (at a close) to have an object; as many as osts
  std::optional<Source> source;  // an object that does not exist is absent, not a hole

  bool instantiated() const { return birth != 0; }
  bool Covers(uint64_t offset) const { return offset >= start && offset < end; }
  bool operator==(const Component&) const = default;
};

struct Layout {
  uint32_t generation = 0;     // lcm_layout_gen; every change raises it
  bool composite = false;      // shown by lfs as composite (-E was used, or the default PFL)
  uint32_t block_bytes = kBlockBytesDefault;
  std::vector<Component> components;  // in file order, adjacent, from offset 0

  bool empty() const { return components.empty(); }
  bool operator==(const Layout&) const = default;
};

struct ObjectId {
  Fid fid;
  uint64_t birth = 0;
  uint32_t stripe = 0;
  auto operator<=>(const ObjectId&) const = default;
  // "200000400_1f_10000000007_0": file name and log text.
  std::string ToString() const;
};

ObjectId ObjectOf(const Component& component, uint32_t stripe);

inline constexpr uint32_t kNoStripe = UINT32_MAX;        // Piece::stripe: no objects yet, a hole

// One contiguous piece of a file range inside one object.
struct Piece {
  uint32_t component = 0;      // index into Layout::components
  uint32_t stripe = 0;         // kNoStripe when the component is not instantiated
  uint64_t file_offset = 0;
  uint64_t object_offset = 0;
  uint64_t length = 0;
};

// Pieces of [offset, offset+length) in file order; adjacent pieces of one object are merged.
// A component that is not instantiated gives one piece with stripe kNoStripe and object_offset 0.
// Ranges beyond the last component's end are left out (callers check LimitOf first).
// REQUIRES: offset + length <= kFileBytesMax.
std::vector<Piece> MapRange(const Layout& layout, uint64_t offset, uint64_t length);
// Index of the component that covers `offset`; nullopt beyond the last.
std::optional<uint32_t> ComponentAt(const Layout& layout, uint64_t offset);
// First offset that the file cannot hold: the last component's end, at most kFileBytesMax.
uint64_t LimitOf(const Layout& layout);
// Any component overlapping [offset, offset+length) not instantiated?
bool NeedsInstantiation(const Layout& layout, uint64_t offset, uint64_t length);

// Size of the object of `stripe` when the file is `file_bytes` long: bytes of the component's
// stripes below min(file_bytes, end), in object offsets (absolute RAID0: holes before start count).
// 0 when the file has no byte in that stripe.
uint64_t ObjectBytesFor(const Component& component, uint32_t stripe, uint64_t file_bytes);
// Smallest file size that gives the object this size: the file end that an object implies.
// 0 for object_bytes == 0.
uint64_t FileBytesFrom(const Component& component, uint32_t stripe, uint64_t object_bytes);
// The stripe that holds file byte `offset`. REQUIRES: component.Covers(offset), instantiated.
uint32_t StripeAt(const Component& component, uint64_t offset);

// The rules of lfs setstripe: alignment, order, adjacency, limits. Error kInvalid with the
// sentence that lfs prints ("Invalid layout: ...").
Status Validate(const Layout& layout);
// 1 to 15 of A-Z a-z 0-9 _ -.
bool ValidPoolName(std::string_view name);
// The file system's default PFL: [0,100M) 1, [100M,10G) 8, [10G,100G) 16, [100G,EOF) 32 stripes of
// 1 MiB. Components whose counts become equal when cut to `ost_count` stay separate.
Layout DefaultTemplate();
// 1 stripe of 1 MiB to EOF, not composite.
Layout PlainTemplate(uint32_t stripe_count, uint64_t stripe_bytes, uint32_t first_ost = kAnyOst);
// Uninstantiated copy of `layout` (ids renumbered from 1, generation 0): a new file starts with it.
// Placement (first_ost, wanted_osts) of components that were instantiated is not copied.
Layout TemplateOf(const Layout& layout);

// ---- OST choice (chooser.cc) ----
// How lately an OST was heard of.
enum class Reach : uint8_t {
  kLately,  // within two heartbeats and a half
  kUp,      // longer ago; it may be about to be found down
  kAway,    // down, or said goodbye; its space is what it last said
};
struct OstState {
  uint32_t index = 0;
  std::string server;          // OSSs are told apart by it; stripes are spread over servers
  uint64_t bytes_free = 0;
  uint64_t bytes_total = 0;
  bool usable = false;         // not read-only, not degraded
  Reach reach = Reach::kLately;
};
// Whether a new object may be put there.
bool HasRoom(const OstState& ost);
// component.stripe_count OST indexes (fewer when there are fewer usable ones, or when the component
// is shorter than that many stripes), no duplicates unless it is overstriped: round robin, weighted
// by free space once that differs by more than 17%, spread over servers; only of those that are
// best in reach: a file needs no object to be made, so OSTs that are away are better than none.
// `position` is the caller's round-robin cursor, advanced. With first_ost: that one and those that
// follow it by index; with wanted_osts: those; whether they are up or not.
// Errors: kNoSpace when none is usable and has space; kInvalid for a wanted OST that does not exist
// or is not usable.
Result<std::vector<uint32_t>> ChooseOsts(const Component& component,
                                         const std::vector<OstState>& osts, uint64_t* position);

// ---- format (layout_codec.cc) ----
std::string Encode(const Layout& layout);
// Errors: kCorrupt; kBadVersion for a newer version or an unknown feature bit.
Result<Layout> Decode(std::string_view bytes);

}  // namespace sheen::layout
