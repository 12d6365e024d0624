// Pools of OSTs as the subcommands take them: "flash", "sheen.flash".
#pragma once

#include <set>
#include <string>

#include "apps/lfs/device.h"

namespace sheen::lfs {

// What -p gave. Pure. Errors: kInvalid.
struct PoolOption {
  std::string fsname;  // empty: not given
  // As in a layout: empty for "", "none" and "inherit", which leave it to the directory;
  // layout::kIgnorePool for "ignore".
  std::string pool;
};
Result<PoolOption> ParsePoolOption(const std::string& value);

// The pool's OSTs. `name` as given. Errors: kNoEntry (no such pool), kInvalid (another
// filesystem's), with the sentence for people.
Result<std::set<uint32_t>> MembersOfPool(const v1::OstPoolList& pools, const std::string& name);

// That the pools which a template names exist, have OSTs, and those that it asks for by index.
// `fsname`: the filesystem's that it was written for; empty: any. Errors: kNoEntry, kInvalid, with
// Lustre's sentences.
Status CheckPools(const v1::OstPoolList& pools, const layout::Layout& layout_template,
                  const std::string& fsname);
// The same, of the mount; asks it only when the template names pools.
Status CheckPools(const Device& device, const layout::Layout& layout_template,
                  const std::string& fsname);

}  // namespace sheen::lfs
