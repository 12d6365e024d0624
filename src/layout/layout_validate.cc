// The rules that every layout keeps, whoever made it: lfs, a client's request, or bytes on a disk.
// Sentences begin as lfs prints them: "Invalid layout: ".
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <set>

#include "layout/layout.h"
#include "layout/ost_name.h"

namespace sheen::layout {

namespace {

constexpr size_t kPoolNameBytesMax = 15;
constexpr uint32_t kBlockBytesMax = 64 << 10;

template <class... Args>
std::unexpected<Error> Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(Errc::kInvalid,
              "Invalid layout: " + fmt::format(format, std::forward<Args>(args)...));
}

Status ValidateOsts(const std::vector<uint32_t>& osts, bool overstriped) {
  std::set<uint32_t> seen;
  for (const uint32_t ost : osts) {
    if (ost > kOstIndexMax) return Invalid("OST index {} is above {}", ost, kOstIndexMax);
    if (!seen.insert(ost).second && !overstriped)
      return Invalid("OST {} is listed twice and the component is not overstriped", ost);
  }
  return {};
}

Status ValidateExtent(const Component& component, uint64_t previous_end) {
  if (component.start != previous_end) {
    if (previous_end == 0) return Invalid("the first component does not start at 0");
    return Invalid("components are not adjacent: one ends at {}, the next starts at {}",
                   previous_end, component.start);
  }
  if (component.end <= component.start)
    return Invalid("component end {} is before the previous end {}", component.end,
                   component.start);
  if (component.start > kFileBytesMax)
    return Invalid("component start {} is above the largest file", component.start);
  if (component.end == kEof) return {};
  if (component.end % kStripeBytesUnit != 0)
    return Invalid("component end {} must be a multiple of {} bytes", component.end,
                   kStripeBytesUnit);
  if (component.end % component.stripe_bytes != 0)
    return Invalid("component end {} must be aligned by stripe size {}", component.end,
                   component.stripe_bytes);
  return {};
}

Status ValidateStriping(const Component& component) {
  if (component.stripe_bytes == 0 || component.stripe_bytes % kStripeBytesUnit != 0)
    return Invalid("bad stripe_size {}, must be an even multiple of {} bytes",
                   component.stripe_bytes, kStripeBytesUnit);
  if (component.stripe_bytes > kStripeBytesMax)
    return Invalid("stripe size '{}' over 4GB limit", component.stripe_bytes);
  const bool many = component.overstriped && component.stripe_count >= kManyPerOst;
  if (component.stripe_count == 0 ||
      (component.stripe_count > kStripeCountMax && component.stripe_count != kAllOsts && !many))
    return Invalid("Invalid stripe count {}", component.stripe_count);
  if (component.first_ost != kAnyOst && component.first_ost > kOstIndexMax)
    return Invalid("OST index {} is above {}", component.first_ost, kOstIndexMax);
  if (component.wanted_osts.size() > kStripeCountMax)
    return Invalid("{} OSTs are listed, at most {} can be", component.wanted_osts.size(),
                   kStripeCountMax);
  if (!component.wanted_osts.empty() && !component.instantiated() &&
      component.wanted_osts.size() != component.stripe_count)
    return Invalid("stripe count {} does not match the {} OSTs listed", component.stripe_count,
                   component.wanted_osts.size());
  SHEEN_TRY(ValidateOsts(component.wanted_osts, component.overstriped));
  if (component.pool.size() > kPoolNameBytesMax)
    return Invalid("pool name is longer than {} characters", kPoolNameBytesMax);
  if (!component.pool.empty() && !ValidPoolName(component.pool))
    return Invalid("pool name '{}' has characters that are not allowed", component.pool);
  return {};
}

Status ValidateObjects(const Component& component) {
  if (!component.instantiated()) {
    if (!component.osts.empty() || !component.present.empty() || !component.object_fid.empty())
      return Invalid("component {} has objects but no birth", component.id);
    return {};
  }
  if (component.osts.empty() || component.osts.size() != component.stripe_count)
    return Invalid("component {} has {} objects for stripe count {}", component.id,
                   component.osts.size(), component.stripe_count);
  if (component.present.size() != component.osts.size())
    return Invalid("component {} knows the presence of {} of {} objects", component.id,
                   component.present.size(), component.osts.size());
  if (!component.object_fid.Valid())
    return Invalid("component {} has no valid object FID", component.id);
  return ValidateOsts(component.osts, component.overstriped);
}

}  // namespace

bool ValidPoolName(std::string_view name) {
  return !name.empty() && name.size() <= kPoolNameBytesMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

Status Validate(const Layout& layout) {
  if (layout.empty()) return Invalid("no component");
  if (layout.components.size() > kComponentCountMax)
    return Invalid("{} components, at most {} can be", layout.components.size(),
                   kComponentCountMax);
  if (!std::has_single_bit(layout.block_bytes) || layout.block_bytes < kBlockBytesDefault ||
      layout.block_bytes > kBlockBytesMax)
    return Invalid("checksum block of {} bytes", layout.block_bytes);
  uint64_t previous_end = 0;
  std::set<uint32_t> ids;
  for (const Component& component : layout.components) {
    SHEEN_TRY(ValidateStriping(component));
    SHEEN_TRY(ValidateExtent(component, previous_end));
    SHEEN_TRY(ValidateObjects(component));
    if (component.id != 0 && !ids.insert(component.id).second)
      return Invalid("component id {} is used twice", component.id);
    previous_end = component.end;
  }
  if (!layout.composite && (layout.components.size() != 1 || previous_end != kEof))
    return Invalid("a plain layout is one component from 0 to the end of file");
  return {};
}

}  // namespace sheen::layout
