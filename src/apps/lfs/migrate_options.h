// The command line of `lfs migrate`. Pure, except that getopt has state.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "apps/lfs/auto_stripe.h"
#include "apps/lfs/command.h"
#include "layout/layout.h"

namespace sheen::lfs {

struct MigrateRequest {
  bool block = false;      // -b was given; it is so without, too
  bool non_block = false;          // -n: give up when somebody writes meanwhile
  bool verbose = false;            // -v
  bool stats = false;              // --stats
  uint64_t stats_seconds = 5;      // --stats-interval
  uint64_t bytes_per_second = 0;   // -W; 0: no limit
  bool null_separated = false;     // -0: of files_from
  std::string files_from;          // "-": standard input
  std::string copy_from;           // --copy
  std::string yaml_file;           // --yaml
  std::optional<AutoStripe> auto_stripe;  // -A: layout_template's stripe count follows the size
  std::string directory;           // --fid --lustre-dir: paths are FIDs of this filesystem
  std::string pool_fsname;         // of -p FSNAME.POOL, else empty
  // Empty, without one of those: each file's own layout, with other objects.
  layout::Layout layout_template;
  Arguments paths;
};

std::expected<MigrateRequest, OptionError> ParseMigrate(const Arguments& args);

}  // namespace sheen::lfs
