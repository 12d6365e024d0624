# Sourced by the integration tests: one throw-away cluster a test, driven by `sheen dev` alone.
#
#   . "$(dirname "$0")/../support/cluster.sh"
#   cluster_up [options of sheen dev up]     -> $MNT is mounted, $WORK is a scratch directory
#   cold                                     -> unmounted and mounted again: no client cache
#   restart                                  -> all daemons stopped and started
# Everything is gone when the script ends, however it ends.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${SHEEN_BIN:-$ROOT/build/release/bin}
export PATH="$BIN:$PATH"
TEST=$(basename "$0" .sh)
NAME="t$$"
# On tmpfs where there is room (a sync costs nothing there); a test sets ON_DISK=1 for a real disk.
work_top=${TMPDIR:-/tmp}
if [ -z "${ON_DISK:-}" ] && [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 8000000 ]; then
  work_top=/dev/shm
fi
WORK=$(mktemp -d "$work_top/sheen-$TEST.XXXXXX")
MNT=$WORK/mnt
# lctl and sheen top of a test see its own daemons, and these leave nothing elsewhere.
export SHEEN_RUN_DIR=$WORK/run
CLUSTER_ARGS=()

say() { printf '%s: %s\n' "$TEST" "$*"; }
die() { printf '%s: FAILED: %s\n' "$TEST" "$*" >&2; exit 1; }

cleanup() {
  local status=$? last=$BASH_COMMAND
  set +e
  cd /
  if [ "$status" -ne 0 ]; then
    # One that ends without a word.
    [ "$last" = "exit 1" ] || printf '%s: FAILED: exit status %s of: %s\n' "$TEST" "$status" "$last" >&2
    for log in "$WORK"/cluster/log/*; do
      [ -f "$log" ] && { echo "--- $log (last lines)"; tail -n 25 "$log"; }
    done >&2
  fi
  type -t test_cleanup >/dev/null && test_cleanup
  [ -d "$WORK/cluster" ] && sheen dev destroy --name "$NAME" >/dev/null 2>&1
  grep -q " $WORK" /proc/mounts && umount -l "$MNT" 2>/dev/null
  rm -rf "$WORK"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

cluster_up() {
  CLUSTER_ARGS=("$@")
  mkdir -p "$MNT"
  sheen dev up --name "$NAME" --dir "$WORK/cluster" --mount "$MNT" "$@" >"$WORK/up.log" 2>&1 ||
    { cat "$WORK/up.log" >&2; die "sheen dev up"; }
  mountpoint -q "$MNT" || die "$MNT is not a mount point after sheen dev up"
}

cold() {
  sheen dev umount "$MNT" --name "$NAME" >/dev/null || die "umount"
  sheen dev mount "$MNT" --name "$NAME" >/dev/null || die "mount"
}

restart() {
  sheen dev down --name "$NAME" >/dev/null || die "sheen dev down"
  sheen dev up --name "$NAME" >/dev/null || die "sheen dev up after down"
}

# same A B: equal trees, by content, names, types, owners, modes, times, links.
same() {
  local out
  out=$(rsync -aHn --checksum --delete --itemize-changes "$1/" "$2/") || die "rsync $1 $2"
  [ -z "$out" ] || { printf '%s\n' "$out" | head -n 20 >&2; die "$2 differs from $1"; }
}

# same_thrice A B: now, with the client's caches dropped, and after everything was restarted.
same_thrice() {
  same "$1" "$2"
  cold
  same "$1" "$2"
  restart
  same "$1" "$2"
}
