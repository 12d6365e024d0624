#!/usr/bin/env bash
# A process that waits for a server which does not answer, dead or stopped, ends when it is killed;
# what it asked for ends by itself later, nothing that was answered is overtaken by it, and the mount
# goes on.
. "$(dirname "$0")/../support/cluster.sh"

declare -A WHAT=()
blocked() { # name, command...: starts it; it must still wait a moment later
  local name=$1
  shift
  "$@" >"$WORK/out.$name" 2>&1 &
  WHAT[$!]=$name
}
gone() { # pid
  [ ! -e "/proc/$1/stat" ] || grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null
}
# All that was started waits, and has gone after SIGKILL: within a second as a rule; on a busy machine
# that many need longer, and what would wait for the servers waits until they are back.
kill_all() {
  local pid late='' begin
  sleep 1.5
  for pid in "${!WHAT[@]}"; do gone "$pid" && die "${WHAT[$pid]} does not wait: $(cat "$WORK/out.${WHAT[$pid]}")"; done
  begin=$(date +%s%N)
  kill -9 "${!WHAT[@]}"
  for pid in "${!WHAT[@]}"; do
    until gone "$pid"; do
      [ $(($(date +%s%N) - begin)) -lt 10000000000 ] || { late="$late ${WHAT[$pid]}"; break; }
      sleep 0.01
    done
    [ -n "$late" ] || wait "$pid" 2>/dev/null || true
  done
  say "  ${#WHAT[@]} gone after $((($(date +%s%N) - begin) / 1000000)) ms: ${WHAT[*]}"
  [ -z "$late" ] || die "10 s after SIGKILL these still wait:$late"
  WHAT=()
}
stopped=()
away() { # kill | stop, daemons...
  local how=$1 daemon
  shift
  for daemon in "$@"; do
    if [ "$how" = kill ]; then sheen dev kill "$daemon" --name "$NAME" >/dev/null; else
      stopped+=("$daemon")
      # It returns when all of the daemon's threads stand still.
      sheen dev kill "$daemon" --signal STOP --name "$NAME" >/dev/null
    fi
  done
}
back() { # daemons...: killed or stopped
  local daemon
  for daemon in "$@"; do sheen dev start "$daemon" --name "$NAME" >/dev/null; done
  stopped=()
}
test_cleanup() { for daemon in "${stopped[@]}"; do sheen dev start "$daemon" --name "$NAME"; done >/dev/null 2>&1; }

round() { # kill | stop
  local how=$1 i
  say "$how: OSSs"
  dd if=/dev/urandom of="$WORK/data" bs=1M count=4 status=none
  for i in read direct write over fsync trunc mapped; do cp "$WORK/data" "$MNT/$i"; sync "$MNT/$i"; done
  cold
  exec 8<>"$MNT/fsync" 9<>"$MNT/over"
  head -c 4096 "$WORK/data" >&8
  away "$how" oss0 oss1
  # What has no bytes needs no OSS.
  for i in 1 2 3; do timeout 5 touch "$MNT/empty$i" || die "touch of a new file with no OSS there"; done
  timeout 5 touch "$MNT/empty1" && timeout 5 chmod 600 "$MNT/empty1" || die "touch, chmod with no OSS there"
  [ "$(timeout 5 stat -c '%s %a' "$MNT/empty1")" = '0 600' ] || die "stat with no OSS there"
  blocked read cat "$MNT/read"
  blocked mapped python3 -c 'import mmap, sys; f = open(sys.argv[1], "rb"); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[1 << 20]' "$MNT/mapped"
  blocked direct dd if="$MNT/direct" of=/dev/null bs=4M iflag=direct
  blocked write dd if=/dev/zero of="$MNT/write" bs=1M count=4 conv=notrunc
  blocked append dd if=/dev/zero of="$MNT/write" bs=64k count=1 oflag=append,direct conv=notrunc
  blocked over dd if=/dev/zero of="$MNT/over" bs=64k count=1 conv=notrunc
  blocked truncate truncate -s 1000 "$MNT/trunc"
  # What was written before may be committed by now.
  blocked fsync python3 -c 'import os, sys; os.pwrite(8, open(sys.argv[1], "rb").read(4096), 0); os.fsync(8)' "$WORK/data"
  kill_all
  # Entries that a killed process left are used again while its bytes are still to be sent.
  for i in $(seq 300); do ls "$MNT" >/dev/null; setfattr -n user.x -v "0x$(head -c 1000 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" "$MNT"; done
  # What is written now is written last, though the killed one's bytes are still under way.
  python3 -c 'import os; os.pwrite(9, b"B" * 65536, 0)' & local writer=$!
  sleep 0.5
  back oss0 oss1
  wait "$writer" || die "the writer after the killed one"
  exec 8>&- 9>&-
  for i in read direct fsync mapped; do timeout 20 cmp "$MNT/$i" "$WORK/data" || die "$i"; done
  cold
  for i in read direct fsync mapped; do timeout 20 cmp "$MNT/$i" "$WORK/data" || die "$i, read again"; done
  timeout 20 cmp -n 65536 "$MNT/over" <(head -c 65536 /dev/zero | tr '\0' B) || die "an older write landed on a newer"
  timeout 20 cmp -i 65536 "$MNT/over" "$WORK/data" || die "over"
  rm -f "$MNT"/*

  say "$how: MDS"
  mkdir -p "$MNT/d"
  cp "$WORK/data" "$MNT/d/f"
  cold
  echo x >"$MNT/d/removed"
  exec 9<"$MNT/d" 6<"$MNT/d/f" 7<"$MNT/d/f" 8<>"$MNT/d/f"
  flock -x 6
  away "$how" mds0
  blocked stat stat "$MNT/d/other"
  blocked ls ls -l "$MNT/d"
  blocked touch touch "$MNT/new"
  blocked mkdir mkdir "$MNT/newdir"
  # For reading it may be opened, and read, under the locks of this mount.
  blocked open python3 -c 'import os, sys; os.open(sys.argv[1], os.O_WRONLY)' "$MNT/d/f"
  blocked rename mv "$MNT/d/f" "$MNT/d/g"
  blocked chmod chmod 600 "$MNT/d"
  blocked unlink unlink "$MNT/d/removed"
  blocked setxattr setfattr -n user.a -v 1 "$MNT/d/f"
  blocked flock flock -x 7
  blocked fcntl python3 -c 'import fcntl; fcntl.lockf(8, fcntl.LOCK_EX)'
  blocked statfs stat -f "$MNT"
  # Of a directory: a file whose changes are known to be committed needs no MDS.
  blocked sync python3 -c 'import os; os.fsync(9)'
  kill_all
  exec 9>&-
  back mds0
  local deadline=$((SECONDS + 30))
  until timeout 5 stat "$MNT/d" >/dev/null 2>&1; do [ "$SECONDS" -lt "$deadline" ] || die "the mount does not answer"; done
  # What the killed asked for is still under way on the connections that come back later.
  sleep 3
  exec 6<&- 7<&- 8<&-
  [ -e "$MNT/d/f" ] || mv "$MNT/d/g" "$MNT/d/f"
  timeout 20 cmp "$MNT/d/f" "$WORK/data" || die "data after the MDS came back"
  # A lock that a killed process waited for is nobody's.
  timeout 20 flock -x "$MNT/d/f" true || die "flock after a waiter was killed"
  timeout 20 python3 -c 'import fcntl, sys; fcntl.lockf(open(sys.argv[1], "r+b"), fcntl.LOCK_EX)' "$MNT/d/f" || die "a file lock after a waiter was killed"
  deadline=$((SECONDS + 20))
  until timeout 20 rm -rf "$MNT/d" "$MNT/new" "$MNT/newdir" && [ -z "$(ls "$MNT")" ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "left: $(ls "$MNT")"
    sleep 0.2
  done
  echo fine >"$MNT/fine"
  [ "$(cat "$MNT/fine")" = fine ] || die "the mount after all"
  rm "$MNT/fine"
}

for transport in on off; do
  say "io_uring=$transport"
  cluster_up --client-opt "io_uring=$transport"
  round kill
  round stop
  sheen dev destroy --name "$NAME" >/dev/null
done
say ok
