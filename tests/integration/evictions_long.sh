#!/usr/bin/env bash
# tests/integration/evictions.sh with file locks, which silent clients keep for a minute.
SHEEN_EVICT_LOCKS=1 exec "$(dirname "$0")/evictions.sh"
