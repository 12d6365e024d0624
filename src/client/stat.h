// Attributes as stat(2) has them. Pure.
#pragma once

#include <sys/stat.h>

#include "client/types.h"

namespace sheen::client {

struct stat StatOf(const Attr& attr);

}  // namespace sheen::client
