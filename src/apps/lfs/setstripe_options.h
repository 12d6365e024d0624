// The command line of `lfs setstripe` as a layout template. Pure, except that getopt has state.
#pragma once

#include <expected>
#include <string>

#include "apps/lfs/command.h"
#include "layout/layout.h"

namespace sheen::lfs {

struct SetstripeRequest {
  bool remove = false;             // -d
  std::string copy_from;           // --copy: this file's layout, else empty
  std::string yaml_file;           // --yaml
  layout::Layout layout_template;  // valid by layout::Validate, unless one of these
  Arguments paths;                 // at least one
};

// Options in front of the first -E belong to the first component, like those behind it; a later
// component without its own -c and -S takes those of the one before it.
std::expected<SetstripeRequest, OptionError> ParseSetstripe(const Arguments& args);

}  // namespace sheen::lfs
