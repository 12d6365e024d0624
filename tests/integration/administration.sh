#!/usr/bin/env bash
# What docs/operations tells an administrator to do, done on five "hosts" under a mount that stays: an OST
# is added, a full one made room on, a lost server waited for, an OST moved to another host, servers
# upgraded one after the other, everything backed up and restored, a mount's daemon replaced, the MDS moved.
. "$(dirname "$0")/../support/cluster.sh"
. "$(dirname "$0")/../support/hosts.sh"
M=$WORK/mnt
test_cleanup() { on c0 umount -l "$M" 2>/dev/null; hosts_down; }
hosts_up mds oss0 oss1 mds2 c0
declare -A daemon=()
serve() { # name of the daemon, host, program, options...
  local name=$1 host=$2
  shift 2
  start "$host" "$name" "$@" --listen "$(address "$host")" --allow 10.99.7.0/24
  daemon[$name]=$started
  if [ "$1" = sheen-mds ]; then wait_port "$host" 7988; else wait_port "$host" 7990; fi
}
stop() { # names of daemons
  local name
  for name in "$@"; do kill "${daemon[$name]}"; wait "${daemon[$name]}" || die "$name did not stop well"; done
}
mds=$(address mds)
serve_mds() { serve mds mds sheen-mds --dir "$WORK/mdt0"; }
serve_oss0() { serve oss0 oss0 sheen-oss --target "$WORK/ost0"; }
serve_oss1() { serve oss1 oss1 sheen-oss --target "$WORK/ost1" "$@"; }
format_ost() { # index
  sheen format ost --fsname scratch --index "$1" --mgs "$mds" --dir "$WORK/ost$1" --size 64M >/dev/null
}
mount_it() { on c0 mount -t sheen "$1:/scratch" "$M" -o log="$WORK/c0.out" || die "mount of $1"; }
intact() { timeout 30 cmp "$WORK/data" "$M/wide" || die "$*: the file is not what was written"; }
up() { # target, up or down
  local deadline=$((SECONDS + 20))
  until on mds sheen status --server "$mds" | grep -qE "scratch-$1 +$2 "; do
    [ "$SECONDS" -lt "$deadline" ] || die "$1 is not $2: $(on mds sheen status --server "$mds")"
    sleep 0.1
  done
}

sheen format mdt --fsname scratch --dir "$WORK/mdt0" >/dev/null
format_ost 0
format_ost 1
serve_mds
serve_oss0
serve_oss1
use_mount_helper
mkdir "$M"
mount_it "$mds"

say "add an OST"
format_ost 2
stop oss1
serve_oss1 --target "$WORK/ost2"
up OST0002 up
lfs setstripe -c -1 "$M/wide" || die "setstripe"
[ "$(lfs getstripe -c "$M/wide")" = 3 ] || die "the new OST is not used"
dd if=/dev/urandom of="$WORK/data" bs=1M count=24 status=none
cp "$WORK/data" "$M/wide"
sync "$M/wide"

say "a full OST"
lfs setstripe -o 0 "$M/large"
dd if=/dev/zero of="$M/large" bs=1M count=80 conv=fsync status=none 2>"$WORK/out" && die "64 MiB took 80"
grep -q 'No space left on device' "$WORK/out" || die "a full OST: $(cat "$WORK/out")"
lfs setstripe -o 1 "$M/other" && cp "$WORK/data" "$M/other" || die "an OST with room takes nothing"
rm "$M/large" "$M/other"
deadline=$((SECONDS + 15))
refill() {
  rm -f "$M/large"
  lfs setstripe -o 0 "$M/large" && dd if=/dev/zero of="$M/large" bs=1M count=40 conv=fsync status=none
}
until refill 2>"$WORK/out"; do
  [ "$SECONDS" -lt "$deadline" ] || die "removing gives no space back: $(cat "$WORK/out")"
  sleep 0.2
done
rm "$M/large"

say "a lost server"
kill -9 "${daemon[oss1]}"
wait "${daemon[oss1]}" 2>/dev/null || true
up OST0001 down
up OST0000 up
touch "$M/meanwhile" || die "nothing can be created while one OSS is away"
lfs setstripe -c -1 "$M/fewer"
[ "$(lfs getstripe -c "$M/fewer")" = 1 ] || die "a new file is put on OSTs that are down"
# Past the kernel's cache.
timeout 2 dd if="$M/wide" iflag=direct of=/dev/null bs=1M status=none && die "a file is read whose server is away"
grep -q 'trying on' "$WORK/c0.out" || die "the client's log does not say what it waits for"
timeout 30 dd if="$M/wide" iflag=direct bs=1M status=none | cmp - "$WORK/data" &
reader=$!
serve_oss1 --target "$WORK/ost2"
wait "$reader" || die "what waited for the server did not get the file"

say "an OST moves to another host, to a server of its own"
stop oss1
serve_oss1
serve moved mds2 sheen-oss --target "$WORK/ost2" --name oss9
up OST0002 up
on mds sheen status --server "$mds" | grep -q 'OST0002 .* on oss9' || die "OST0002 is not on oss9"
intact "after the move"
stop moved
stop oss1
serve_oss1 --target "$WORK/ost2"
up OST0002 up
intact "after the way back"

say "upgrade: one server after the other under a writer"
(for i in $(seq 1 40); do echo "$i" >>"$M/diary" || exit 1; sleep 0.05; done) &
writer=$!
stop mds; serve_mds
stop oss0; serve_oss0
stop oss1; serve_oss1 --target "$WORK/ost2"
wait "$writer" || die "the writer saw an upgrade"
[ "$(tr '\n' ' ' <"$M/diary")" = "$(seq 1 40 | tr '\n' ' ')" ] || die "lines of the writer are lost"

say "back up, lose everything, restore"
on c0 umount "$M"
stop oss0 oss1 mds
for target in mdt0 ost0 ost1 ost2; do
  tar -C "$WORK" -cSf "$WORK/$target.tar" "$target"
  rm -r "${WORK:?}/$target"
  tar -C "$WORK" -xf "$WORK/$target.tar"
done
serve_mds
serve_oss0
serve_oss1 --target "$WORK/ost2"
mount_it "$mds"
intact "after the restore"

say "a mount's daemon is killed"
kill -9 "$(pgrep -nf "sheen-client $mds:/scratch $M")"
# While its last requests end there are others, for a moment.
deadline=$((SECONDS + 15))
until { ls "$M" 2>&1 || true; } | grep -qE 'Transport endpoint is not connected|Software caused connection abort'; do
  [ "$SECONDS" -lt "$deadline" ] || die "a mount without a daemon: $(ls "$M" 2>&1 || true)"
  sleep 0.1
done
mount_it "$mds"
intact "after another mount"

say "a mount whose daemon is stopped"
client=$(pgrep -nf "sheen-client $mds:/scratch $M")
kill -STOP "$client"
timeout 5 umount -f "$M" || timeout 5 umount -l "$M" || die "umount -l of a stopped daemon"
kill -KILL "$client"
mount_it "$mds"
intact "after a daemon that was stopped"
on c0 umount "$M"

say "the MDS moves to another host"
stop oss0 oss1 mds
mds=$(address mds2)
serve mds mds2 sheen-mds --dir "$WORK/mdt0"
serve oss0 oss0 sheen-oss --target "$WORK/ost0" --mgs "$mds"
serve_oss1 --target "$WORK/ost2" --mgs "$mds"
mount_it "$mds"
intact "under the new MDS"
on c0 umount "$M"
stop oss0 oss1
# Remembered: the address need not be given again.
serve_oss0
serve_oss1 --target "$WORK/ost2"
mount_it "$mds"
intact "after another start"
on c0 umount "$M"
stop oss0 oss1 mds
pids=()
say ok
