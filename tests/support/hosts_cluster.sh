# Sourced after hosts.sh: a filesystem on hosts mds and oss0, mounted on c0, c1, ... at $WORK/HOST;
# daemons run as by hand. hosts_cluster_down is for test_cleanup.
#
#   hosts_cluster_up CLIENT...   also sets $DAEMON, the daemons' pids by host
#   start_server mds|oss0        again, after it was killed
#   until_true WHAT COMMAND...   it becomes true within $PATIENCE

# Far more than any of it takes: only what hangs is longer.
PATIENCE=150
clients=()
declare -A DAEMON=()
now_ms() { echo $(($(date +%s%N) / 1000000)); }
until_true() {
  local what=$1 limit=$((SECONDS + PATIENCE))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$limit" ] || die "$what: not within $PATIENCE s"
    sleep 0.05
  done
}

start_server() { # mds | oss0
  local common=(--listen "$(address "$1")" --allow 10.99.7.0/24)
  case $1 in
    mds) start mds mds sheen-mds --dir "$WORK/mdt" --fsname hosts "${common[@]}" ;;
    *) start oss0 oss0 sheen-oss --target "$WORK/ost" "${common[@]}" ;;
  esac
  DAEMON[$1]=$started
}

hosts_cluster_up() {
  local host mgs
  clients=("$@")
  hosts_up mds oss0 "$@"
  mgs=$(address mds)
  sheen format mdt --fsname hosts --index 0 --mgs "$mgs" --dir "$WORK/mdt" >/dev/null
  sheen format ost --fsname hosts --index 0 --mgs "$mgs" --dir "$WORK/ost" --size 1G >/dev/null
  start_server mds
  wait_port mds 7988
  start_server oss0
  wait_port oss0 7990
  for host in "$@"; do
    mkdir "$WORK/$host"
    start "$host" "$host" sheen-client "$mgs:/hosts" "$WORK/$host" -o "fg,lost_data=$WORK/lost"
    DAEMON[$host]=$started
    until_true "mount on $host" mountpoint -q "$WORK/$host"
  done
}

hosts_cluster_down() {
  local host
  [ "${status:-0}" -eq 0 ] || tail -n 25 "$WORK"/*.out >&2 # of cleanup
  for host in "${clients[@]}"; do
    [ -z "${DAEMON[$host]:-}" ] || kill -CONT "${DAEMON[$host]}" 2>/dev/null
    umount -f "$WORK/$host" 2>/dev/null || umount -l "$WORK/$host" 2>/dev/null
  done
  hosts_down
}
