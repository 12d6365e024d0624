#!/usr/bin/env bash
# Clients that are away for longer than others wait for them: c0's cable is out, and c2's daemon is
# frozen. c1 goes on; what they had accepted and held comes too late, is told by fsync, and never
# lands on c1's bytes; they show nothing old, and work on. (File locks: SHEEN_EVICT_LOCKS=1.)
. "$(dirname "$0")/../support/cluster.sh"
. "$(dirname "$0")/../support/hosts.sh"
. "$(dirname "$0")/../support/hosts_cluster.sh"
HELPER=$ROOT/tests/integration/partitions.py
LOCKS=${SHEEN_EVICT_LOCKS:-}
WRITE_MAX=75000 # ms; who opens waits for the OSS and then for the MDS, 20 s and 23 s
LOCK_MAX=120000 # a silent session 60 s
test_cleanup() { hosts_cluster_down; }
hosts_cluster_up c0 c1 c2
chmod 777 "$WORK/c0"

steps=$WORK/steps
mkdir "$steps" "$steps/c0" "$steps/c2"
holders=()
hold() { # host, command that takes it away, command that brings it back
  local host=$1
  mkdir "$WORK/c1/of_$host"
  echo -n >"$WORK/c1/of_$host/held"
  python3 "$HELPER" hold "$WORK/$host/of_$host" "$steps/$host" "$2" "$3" &
  holders+=($!)
  pids+=($!)
}
link="ip -n $(ns bridge) link set p-c0"
hold c0 "$link down" "$link up"
hold c2 "kill -STOP ${DAEMON[c2]}" "kill -CONT ${DAEMON[c2]}"
for host in c0 c2; do until_true "$host holds what it wrote" test -e "$steps/$host/away"; done
begin=$(now_ms)
others=()
for host in c0 c2; do
  head -c 65536 /dev/zero | tr '\0' o | dd of="$WORK/c1/of_$host/held" bs=64k iflag=fullblock conv=notrunc,fsync status=none &
  others+=($!)
  [ -n "$LOCKS" ] || continue
  python3 "$HELPER" lock "$WORK/c1/of_$host/held" >"$WORK/locked.$host" &
  pids+=($!)
done
for other in "${others[@]}"; do wait "$other" || die "c1's write"; done
took=$(($(now_ms) - begin))
say "c1 has written where they held bytes after $took ms"
[ "$took" -lt "$WRITE_MAX" ] || die "c1 waited for $took ms"
if [ -n "$LOCKS" ]; then
  for host in c0 c2; do until_true "c1 gets the lock of $host" test -s "$WORK/locked.$host"; done
  took=$(($(now_ms) - begin))
  say "c1 has the locks after $took ms"
  [ "$took" -lt "$LOCK_MAX" ] || die "c1 waited for the locks for $took ms"
fi
# What it had, it does not show any more.
timeout "$PATIENCE" head -c 65536 "$WORK/c0/of_c0/held" >"$WORK/read.c0" 2>"$WORK/read.err" &
reader=$!
shows_others() { [ "$(head -c 65536 "$WORK/$1/of_$1/held" | tr -cd o | wc -c)" = 65536 ]; }
sleep 3
plug c0
kill -CONT "${DAEMON[c2]}"
wait "$reader" || [ $? -ne 124 ] || die "a read of the client that was cut off hangs"
[ -z "$(tr -d o <"$WORK/read.c0")" ] || die "the client that was cut off shows what it held"
touch "$steps/c0/back" "$steps/c2/back"
for host in c0 c2; do
  until_true "fsync of $host" test -e "$steps/$host/lock"
  synced=$(cat "$steps/$host/fsync") lock=$(cat "$steps/$host/lock")
  say "$host: fsync $synced, lock $lock"
  # What it held came too late, and is told.
  [ "$synced" = '"EIO"' ] || die "fsync of $host of what it held: $synced"
  if [ -n "$LOCKS" ]; then
    case $lock in '"EAGAIN"' | '"EACCES"') ;; *) die "$host still has its lock" ;; esac
  fi
  until_true "$host shows c1's bytes" shows_others "$host"
  until_true "the log of $host names what was lost, and where it is saved" \
    grep -q 'could not be stored: .*; saved in' "$WORK/$host.out"
  saved=$(sed -n 's/.* could not be stored: .*; saved in \(.*\)$/\1/p' "$WORK/$host.out" | head -n 1)
  until_true "$host saves what it held" test -s "${saved%.data}.ranges"
  read -r offset length <"${saved%.data}.ranges"
  [ "$length" -gt 0 ] && [ -z "$(tail -c "+$((offset + 1))" "$saved" | head -c "$length" | tr -d '\0' | tr -d h)" ] ||
    die "$host saved other bytes than it held"
done
touch "$steps/c0/again" "$steps/c2/again"
for holder in "${holders[@]}"; do wait "$holder" || die "a client that was evicted does not go on"; done
for host in c0 c1 c2; do
  cmp "$WORK/c1/of_c0/held" "$WORK/$host/of_c0/held" || die "$host sees another file of c0"
  cmp "$WORK/c1/of_c2/held" "$WORK/$host/of_c2/held" || die "$host sees another file of c2"
done
say ok
