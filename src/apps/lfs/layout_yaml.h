// Layout templates in the form that `lfs getstripe --yaml` prints. Of YAML only that form is read:
// "key: value" lines and "- key: value" list items. Pure; thread-safe.
//
// Each lcme_extent.e_end closes a component; without components the lmm_ lines are one plain
// layout. Keys of objects fix the placement (l_ost_idx); ids, flags, FIDs and generations are not
// taken over; other keys are refused.
#pragma once

#include <string>

#include "layout/layout.h"
#include "sheen/result.h"

namespace sheen::lfs {

// Errors: kInvalid, with the line; kNotSupported for a pattern that Sheen does not have.
Result<layout::Layout> ParseLayoutYaml(const std::string& text);

}  // namespace sheen::lfs
