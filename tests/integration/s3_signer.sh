#!/usr/bin/env bash
# src/s3's signatures are botocore's, on thousands of random requests.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec timeout 120 tests/s3/compare_signer.py build/release/bin/s3_tool 10000
