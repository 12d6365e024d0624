#!/usr/bin/env bash
# tests/integration/racing.sh for ten minutes.
SHEEN_RACE_SECONDS=600 exec "$(dirname "$0")/racing.sh"
