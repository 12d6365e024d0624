#!/usr/bin/env bash
# fio writes with mixed sizes, buffered and direct, and verifies crc32c; the bytes are the same cold
# and after a restart.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
lfs setstripe -c 4 -S 64k "$MNT" || die "setstripe"
job() { # name, then fio options
  fio --name="$1" --directory="$MNT" --size=48m --rw=randwrite --numjobs=2 --verify=crc32c \
    --verify_fatal=1 --do_verify=1 --fallocate=none --randseed=7 --verify_state_save=0 "${@:2}" >"$WORK/fio.$1" 2>&1 ||
    { tail -n 30 "$WORK/fio.$1" >&2; die "fio $1"; }
}
job buffered --ioengine=psync --bssplit=512/20:4k/20:47008/20:64k/20:512k/20
job direct --direct=1 --ioengine=libaio --iodepth=8 --bssplit=4k/40:64k/30:512k/30
job mapped --ioengine=mmap --bs=4k
sums=$(cd "$MNT" && sha256sum ./*.0)
cold
[ "$sums" = "$(cd "$MNT" && sha256sum ./*.0)" ] || die "cold sums differ"
restart
[ "$sums" = "$(cd "$MNT" && sha256sum ./*.0)" ] || die "sums differ after restart"
say ok
