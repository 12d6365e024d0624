// Size and times of a regular file that somebody may be writing: what the MDS knows, merged with
// what the objects say (a glimpse).
//
//   size   = max over the stripes of layout::FileBytesFrom
//   blocks = sum over the objects
//   mtime  = the newest; where somebody has set the file's (Attr::mtime_set) of whoever has the
//            newest ctime, the MDS when equal;  ctime = that newest one
//
// Pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "client/types.h"
#include "layout/layout.h"

namespace sheen::client {

// What an OST said of one object. `known` false: not asked yet.
struct ObjectState {
  bool known = false;
  bool exists = false;
  uint64_t size = 0;
  uint64_t blocks = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
};

// [component][stripe], shaped as the layout; components that are not instantiated have no stripes.
using ObjectStates = std::vector<std::vector<ObjectState>>;

ObjectStates ShapeOf(const layout::Layout& layout);
// Every stripe of every instantiated component is known.
bool AllKnown(const ObjectStates& states);
// REQUIRES: `states` has the layout's shape. Unknown objects count as absent.
Attr MergeGlimpse(Attr from_mds, const layout::Layout& layout, const ObjectStates& states);
// Takes `seen` unless an answer with a later ctime was seen before (answers may overtake).
void MergeObject(const ObjectState& seen, ObjectState* state);

}  // namespace sheen::client
