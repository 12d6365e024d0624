#include "layout/layout.h"

namespace sheen::layout {

Layout DefaultTemplate() {
  constexpr uint64_t kMebibyte = 1ULL << 20;
  constexpr uint64_t kGibibyte = 1ULL << 30;
  struct Step {
    uint64_t end;
    uint32_t stripe_count;
  };
  constexpr Step kSteps[] = {
      {100 * kMebibyte, 1}, {10 * kGibibyte, 8}, {100 * kGibibyte, 16}, {kEof, 32}};
  Layout layout;
  layout.composite = true;
  uint64_t start = 0;
  for (const Step& step : kSteps) {
    Component component;
    component.id = static_cast<uint32_t>(layout.components.size()) + 1;
    component.start = start;
    component.end = step.end;
    component.stripe_count = step.stripe_count;
    layout.components.push_back(component);
    start = step.end;
  }
  return layout;
}

Layout PlainTemplate(uint32_t stripe_count, uint64_t stripe_bytes, uint32_t first_ost) {
  Component component;
  component.id = 1;
  component.stripe_count = stripe_count;
  component.stripe_bytes = stripe_bytes;
  component.first_ost = first_ost;
  Layout layout;
  layout.components.push_back(component);
  return layout;
}

Layout TemplateOf(const Layout& layout) {
  Layout out;
  out.composite = layout.composite;
  out.block_bytes = layout.block_bytes;
  for (const Component& component : layout.components) {
    Component copy;
    copy.id = static_cast<uint32_t>(out.components.size()) + 1;
    copy.start = component.start;
    copy.end = component.end;
    copy.stripe_bytes = component.stripe_bytes;
    copy.stripe_count = component.stripe_count;
    copy.pool = component.pool;
    copy.overstriped = component.overstriped;
    if (!component.instantiated()) {
      copy.first_ost = component.first_ost;
      copy.wanted_osts = component.wanted_osts;
    }
    out.components.push_back(std::move(copy));
  }
  return out;
}

}  // namespace sheen::layout
