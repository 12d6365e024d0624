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
  bool pending = false;  // the name is: only what a listing said of it is known
  // Not empty: the name stays as it is, and why.
  std::string_view refusal;
};

// `inode`: of the entry's name. `listed`: the entry says what a listing says, and nothing of owner
// and mode; else a pending name is IMPORT_UPDATED by it. Errors: kCorrupt (its source).
Result<ImportStanding> CompareImported(const mdt::Inode& inode, uint32_t repository,
                                       const v1::ImportEntry& entry, bool listed);

}  // namespace sheen::mds
