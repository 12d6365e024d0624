// What an object of a listing is to the name that is there: the rules of imports.
//
// Pure function.
#pragma once

#include <string_view>

#include "mdt/records.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {

struct ImportStanding {
  // IMPORT_CREATED: a directory that an import made on the way and that has an object of its own
  // now.
  v1::ImportWhat what = v1::IMPORT_UNCHANGED;
  bool same_content = false;
  // Not empty: the name stays as it is, and why.
  std::string_view refusal;
};

// `inode`: of the entry's name. Errors: kCorrupt (its source).
Result<ImportStanding> CompareImported(const mdt::Inode& inode, uint32_t repository,
                                       const v1::ImportEntry& entry);

}  // namespace sheen::mds
