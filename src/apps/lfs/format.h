// What `lfs getstripe` prints, as text: pure functions of a layout. Label columns are Lustre's:
// values begin at column 20 (lmm_, lcm_), 22 (lcme_) or 16 (directories); objects are named by
// their FID.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/lfs/component_flags.h"
#include "fid/fid.h"
#include "layout/layout.h"

namespace sheen::lfs {

// Single attributes, in the order in which they are printed.
enum Attribute : uint32_t {
  kShowStripeCount = 1U << 0,
  kShowStripeSize = 1U << 1,
  kShowPattern = 1U << 2,
  kShowGeneration = 1U << 3,
  kShowStripeIndex = 1U << 4,
  kShowPool = 1U << 5,
  kShowFid = 1U << 6,
  kShowMdtIndex = 1U << 7,
  kShowMirrorCount = 1U << 8,
  kShowComponentCount = 1U << 9,
  kShowComponentId = 1U << 10,
  kShowComponentFlags = 1U << 11,
  kShowComponentStart = 1U << 12,
  kShowComponentEnd = 1U << 13,
  kShowMirrorId = 1U << 14,
};

// "=+64M": above; "=-64M": below; "=64M": exactly.
struct OffsetFilter {
  int sign = 0;
  uint64_t bytes = 0;
  bool Holds(uint64_t value) const {
    return sign > 0 ? value > bytes : sign < 0 ? value < bytes : value == bytes;
  }
};

struct FormatOptions {
  uint32_t attributes = 0;  // bits of Attribute; 0: everything
  bool verbose = false;
  bool quiet = false;  // objects only
  bool yaml = false;
  std::optional<uint32_t> component_id;        // only this component
  std::optional<FlagList> component_flags;     // only those with, and without, these
  std::optional<OffsetFilter> component_start;
  std::optional<OffsetFilter> component_end;
  bool no_mirror = false;              // of a mirror that no file has: nothing
  std::optional<uint32_t> marked_ost;  // -O: its objects are marked, others' files not shown
  bool hex_index = false;              // OST indexes in hexadecimal
};

struct FormatSubject {
  const layout::Layout* layout = nullptr;
  Fid fid;
  bool is_directory = false;
  bool inherited = false;  // a directory's default that is not its own
};

// Whether the filters leave anything of the layout.
bool AnySelected(const layout::Layout& layout, const FormatOptions& options);
// Without the path line; with the empty line at the end where Lustre prints one.
std::string FormatLayout(const FormatSubject& subject, const FormatOptions& options);
// "[0x..:0x..:0x0]" and so on, bare for one attribute, labelled for several.
std::string FormatAttributes(const FormatSubject& subject, const FormatOptions& options);

}  // namespace sheen::lfs
