#!/usr/bin/env bash
# tests/integration/lazy_cycle.sh with 10,000 files and 30 of 64 MiB.
SHEEN_CYCLE_FILES=10000 SHEEN_CYCLE_LARGE=30 SHEEN_CYCLE_STEPS=60000 \
  SHEEN_CYCLE_BYTES=$((12 << 30)) exec "$(dirname "$0")/lazy_cycle.sh"
