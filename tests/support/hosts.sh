# Sourced after cluster.sh: "hosts", network namespaces on one bridge, each with an address of
# 10.99.7.0/24 and loopback.
#
#   hosts_up NAME...               makes them
#   address NAME                   its address
#   on NAME COMMAND...             runs a command there
#   start NAME LOG COMMAND...      runs a daemon there, output to $WORK/LOG.out; its pid is $started
#   wait_port NAME PORT            until it is listened on
#   use_mount_helper               mount(8) finds mount.sheen
#   lose FROM TO, heal FROM TO     what FROM sends to TO is lost, and arrives again
#   unplug NAME, plug NAME         its cable
#   hosts_down                     ends what was started; for test_cleanup
hosts=()
pids=()
helper_link=
ns() { echo "sh$$-$1"; }
address() { local i; for i in "${!hosts[@]}"; do [ "${hosts[$i]}" = "$1" ] && echo "10.99.7.$((i + 1))"; done; true; }
on() { local host=$1; shift; nsenter --net=/run/netns/"$(ns "$host")" "$@"; }

hosts_up() {
  local host
  hosts=("$@")
  ip netns add "$(ns bridge)"
  ip -n "$(ns bridge)" link add br0 type bridge
  ip -n "$(ns bridge)" link set br0 up
  for host in "${hosts[@]}"; do
    ip netns add "$(ns "$host")"
    ip link add "v$$" netns "$(ns "$host")" type veth peer name "p-$host" netns "$(ns bridge)"
    ip -n "$(ns "$host")" link set "v$$" name eth0
    ip -n "$(ns "$host")" addr add "$(address "$host")/24" dev eth0
    ip -n "$(ns "$host")" link set eth0 up
    ip -n "$(ns "$host")" link set lo up
    ip -n "$(ns bridge)" link set "p-$host" master br0
    ip -n "$(ns bridge)" link set "p-$host" up
  done
}

start() { # host, log, command...
  local host=$1 log=$2
  shift 2
  nsenter --net=/run/netns/"$(ns "$host")" "$@" >>"$WORK/$log.out" 2>&1 &
  started=$!
  pids+=("$started")
}

wait_port() { # host, port
  local deadline=$((SECONDS + 20))
  until on "$1" bash -c "exec 3<>/dev/tcp/$(address "$1")/$2" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || { tail "$WORK"/*.out >&2; die "$1 does not listen on port $2"; }
    sleep 0.1
  done
}

# Its frames go to an address that nobody has.
lose() { ip -n "$(ns "$1")" neigh replace "$(address "$2")" lladdr 02:00:00:00:00:99 nud permanent dev eth0; }
heal() { ip -n "$(ns "$1")" neigh del "$(address "$2")" dev eth0; }
unplug() { ip -n "$(ns bridge)" link set "p-$1" down; }
plug() { ip -n "$(ns bridge)" link set "p-$1" up; }

# mount(8) finds its helper in /sbin; the one of the build tree is put there if none is installed.
use_mount_helper() {
  [ -e /sbin/mount.sheen ] && return
  helper_link=/sbin/mount.sheen
  ln -s "$BIN/mount.sheen" "$helper_link"
}

hosts_down() {
  local host pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  for host in "${hosts[@]}" bridge; do
    ip netns pids "$(ns "$host")" 2>/dev/null | xargs -r kill -9 2>/dev/null
    ip netns del "$(ns "$host")" 2>/dev/null
  done
  [ -n "$helper_link" ] && rm -f "$helper_link"
  return 0
}
