// Random valid layouts, and the seed they come from. For property tests.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>

#include "base/random.h"
#include "layout/layout.h"

namespace sheen::layout {

// From SHEEN_SEED, else new; printed either way.
inline uint64_t TestSeed() {
  const char* const given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  std::cout << "SHEEN_SEED=" << seed << "\n";
  return seed;
}

inline void InstantiateForTest(Component* component, uint32_t stripes, Random* random) {
  component->object_fid = {kFirstClientSequence + random->Below(1000),
                           static_cast<uint32_t>(random->Below(1 << 24)), 0};
  component->birth = 1 + random->Below(UINT64_MAX - 1);
  component->stripe_count = stripes;
  component->osts.clear();
  const auto first = static_cast<uint32_t>(random->Below(100));
  for (uint32_t i = 0; i < stripes; ++i) component->osts.push_back(first + i * 3);
  component->present.assign(stripes, false);
  for (uint32_t i = 0; i < stripes; ++i) component->present[i] = random->OneIn(2);
}

struct RandomLayoutOptions {
  bool all_instantiated = false;
  uint32_t stripes_max = 9;
};

inline Layout RandomLayout(Random* random, RandomLayoutOptions options = {}) {
  Layout layout;
  layout.generation = static_cast<uint32_t>(random->Next());
  layout.block_bytes = 4096U << random->Below(5);
  const uint64_t count = 1 + random->Below(5);
  layout.composite = count > 1 || random->OneIn(2);
  uint64_t start = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Component component;
    component.id = static_cast<uint32_t>(i) + 1;
    component.start = start;
    component.stripe_bytes = kStripeBytesUnit * (1 + random->Below(20));
    const bool last = i + 1 == count;
    if (last && (!layout.composite || random->OneIn(2))) {
      component.end = kEof;
    } else {
      component.end =
          (start / component.stripe_bytes + 1 + random->Below(40)) * component.stripe_bytes;
    }
    const auto stripes = static_cast<uint32_t>(1 + random->Below(options.stripes_max));
    if (options.all_instantiated || random->OneIn(2)) {
      InstantiateForTest(&component, stripes, random);
    } else {
      component.stripe_count = random->OneIn(5) ? kAllOsts : stripes;
      if (random->OneIn(4)) component.first_ost = static_cast<uint32_t>(random->Below(100));
      if (component.stripe_count == stripes && random->OneIn(4)) {
        for (uint32_t ost = 0; ost < stripes; ++ost) component.wanted_osts.push_back(ost * 7);
      }
    }
    if (random->OneIn(4)) component.pool = std::string(1 + random->Below(15), 'p');
    start = component.end;
    layout.components.push_back(std::move(component));
  }
  return layout;
}

}  // namespace sheen::layout
