// The command line of `lfs setstripe` as a layout template. Pure, except that getopt has state.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "apps/lfs/command.h"
#include "apps/lfs/component_flags.h"
#include "layout/layout.h"

namespace sheen::lfs {

struct SetstripeRequest {
  enum class Action : uint8_t {
    kSet,
    kRemove,  // -d
    kAdd,     // --component-add
    kDelete,  // --component-del
    kSetFlags,  // --component-set
  };
  Action action = Action::kSet;
  uint32_t component_id = 0;       // kDelete, 0: all without objects; kSetFlags
  FlagList flags;                  // kSetFlags: to be set and cleared
  std::string copy_from;           // --copy: this file's layout, else empty
  std::string yaml_file;           // --yaml
  std::string pool_fsname;         // of -p FSNAME.POOL, else empty
  layout::Layout layout_template;  // valid by layout::Validate, unless one of these
  Arguments paths;                 // at least one
};

// Options in front of the first -E belong to the first component, like those behind it; a later
// component without its own -c, -S and -p takes those of the one before it.
std::expected<SetstripeRequest, OptionError> ParseSetstripe(const Arguments& args);

}  // namespace sheen::lfs
