#include "client/object_ranges.h"

#include <algorithm>

namespace sheen::client {
namespace {

uint64_t StripesOf(const layout::Component& component) {
  return component.instantiated() ? component.osts.size() : component.stripe_count;
}

}  // namespace

uint64_t ObjectOffsetAtOrAfter(const layout::Component& component, uint32_t stripe,
                               uint64_t file_offset) {
  const uint64_t row_bytes = component.stripe_bytes * StripesOf(component);
  const uint64_t row = file_offset / row_bytes;
  const uint64_t in_row = file_offset % row_bytes;
  const uint64_t stripe_start = component.stripe_bytes * stripe;
  const uint64_t below =
      in_row <= stripe_start ? 0 : std::min(in_row - stripe_start, component.stripe_bytes);
  return row * component.stripe_bytes + below;
}

uint64_t FileOffsetOf(const layout::Component& component, uint32_t stripe, uint64_t object_offset) {
  const uint64_t row_bytes = component.stripe_bytes * StripesOf(component);
  return object_offset / component.stripe_bytes * row_bytes + component.stripe_bytes * stripe +
         object_offset % component.stripe_bytes;
}

std::vector<ObjectRange> ObjectRangesOf(const layout::Layout& layout, uint64_t offset,
                                        uint64_t length) {
  std::vector<ObjectRange> ranges;
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const layout::Component& component = layout.components[i];
    if (!component.instantiated()) continue;
    const uint64_t begin = std::max(offset, component.start);
    const uint64_t end = std::min(offset + length, component.end);
    if (begin >= end) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      ObjectRange range{i, stripe, ObjectOffsetAtOrAfter(component, stripe, begin),
                        ObjectOffsetAtOrAfter(component, stripe, end)};
      if (range.begin < range.end) ranges.push_back(range);
    }
  }
  return ranges;
}

}  // namespace sheen::client
