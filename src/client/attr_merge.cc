#include "client/attr_merge.h"

#include <algorithm>

namespace sheen::client {

ObjectStates ShapeOf(const layout::Layout& layout) {
  ObjectStates states(layout.components.size());
  for (size_t i = 0; i < states.size(); ++i) {
    const layout::Component& component = layout.components[i];
    if (component.instantiated()) states[i].resize(component.osts.size());
  }
  return states;
}

bool AllKnown(const ObjectStates& states) {
  for (const auto& component : states) {
    for (const ObjectState& object : component) {
      if (!object.known) return false;
    }
  }
  return true;
}

Attr MergeGlimpse(Attr from_mds, const layout::Layout& layout, const ObjectStates& states) {
  Attr merged = std::move(from_mds);
  merged.size = 0;
  merged.blocks = 0;
  for (size_t i = 0; i < layout.components.size() && i < states.size(); ++i) {
    const layout::Component& component = layout.components[i];
    for (uint32_t stripe = 0; stripe < states[i].size(); ++stripe) {
      const ObjectState& object = states[i][stripe];
      if (!object.exists) continue;
      const uint64_t implied = layout::FileBytesFrom(component, stripe, object.size);
      merged.size = std::max(merged.size, implied);
      merged.blocks += object.blocks;
      if (object.ctime_ns > merged.ctime_ns) {
        merged.ctime_ns = object.ctime_ns;
        merged.mtime_ns = merged.mtime_set ? object.mtime_ns
                                           : std::max(merged.mtime_ns, object.mtime_ns);
        merged.mtime_set = false;  // written since
      } else if (!merged.mtime_set) {
        merged.mtime_ns = std::max(merged.mtime_ns, object.mtime_ns);
      }
    }
  }
  return merged;
}

void MergeObject(const ObjectState& seen, ObjectState* state) {
  if (state->known && state->exists && seen.ctime_ns < state->ctime_ns) return;
  *state = seen;
  state->known = true;
}

}  // namespace sheen::client
