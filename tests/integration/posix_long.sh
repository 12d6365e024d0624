#!/usr/bin/env bash
# tests/integration/posix.sh at full length: 65,000 links, 10^6 random operations, 10^7 on bytes. Goes on
# where it was interrupted.
SHEEN_POSIX_FULL=1 exec "$(dirname "$0")/posix.sh"
