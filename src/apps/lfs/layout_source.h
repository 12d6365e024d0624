// Layouts that are taken from elsewhere: --copy FILE and --yaml FILE.
#pragma once

#include <string>
#include <string_view>

#include "layout/layout.h"

namespace sheen::lfs {

// Into `out`, from whichever is not empty. Gives the exit status; `command` for its messages.
int FetchTemplate(std::string_view command, const std::string& copy_from,
                  const std::string& yaml_file, layout::Layout* out);

}  // namespace sheen::lfs
