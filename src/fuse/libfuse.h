// libfuse's low-level API, at the one version that this module is written for.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>  // IWYU pragma: export
