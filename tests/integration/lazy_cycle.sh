#!/usr/bin/env bash
# The cycle of a bucket's files on Ceph's radosgw: imported, read, changed on either side, released and
# restored from two mounts, while agents, OSSs and the MDS are killed; every byte is compared.
# SHEEN_CYCLE_FILES, _LARGE, _STEPS: more of it (tests/integration/lazy_cycle_long.sh).
. "$(dirname "$0")/../support/cluster.sh"
. "$ROOT/tests/support/radosgw.sh"
SECOND=$WORK/second
test_cleanup() {
  sheen dev umount "$SECOND" --name "$NAME" >/dev/null 2>&1
  radosgw_down
}
RGW_BYTES=${SHEEN_CYCLE_BYTES:-2147483648}
radosgw_up || { tail -n 5 "$RGW_DIR"/*.out; die "radosgw does not start"; }
export AWS_ACCESS_KEY_ID=$RGW_ACCESS AWS_SECRET_ACCESS_KEY=$RGW_SECRET
export AWS_EC2_METADATA_DISABLED=true HOME=$WORK
unset AWS_PROFILE AWS_SESSION_TOKEN
timeout 100 "$ROOT/tests/s3/second_party.py" "$RGW_URL" make bucket || die "no bucket"
cluster_up --agent
mkdir -p "$SECOND" "$WORK/copies"
sheen dev mount "$SECOND" --name "$NAME" >/dev/null
say "seed ${SHEEN_SEED:=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
"$ROOT/tests/s3/cycle.py" --url "$RGW_URL" --bucket bucket --name "$NAME" --mount "$MNT" \
  --mount "$SECOND" --copies "$WORK/copies" --seed "$SHEEN_SEED" \
  --files "${SHEEN_CYCLE_FILES:-300}" --large "${SHEEN_CYCLE_LARGE:-1}" \
  --steps "${SHEEN_CYCLE_STEPS:-1200}" || die "the cycle"
say ok
