#!/usr/bin/env bash
# Bad input: every mistake gets a message that names the thing and the remedy, and nothing is lost.
. "$(dirname "$0")/../support/cluster.sh"

# refused PATTERN COMMAND...: the command fails within 20 s and says something like PATTERN.
refused() {
  local pattern=$1 status=0
  shift
  timeout 20 "$@" >"$WORK/out" 2>&1 || status=$?
  [ "$status" -ne 0 ] || die "was accepted: $*"
  [ "$status" -ne 124 ] || die "hung: $*"
  grep -Eiq -- "$pattern" "$WORK/out" || { cat "$WORK/out" >&2; die "no '$pattern' from: $*"; }
}
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }

# Configuration.
refused 'nowhere.toml' sheen-mds --config "$WORK/nowhere.toml"
printf 'dir = "x\n' >"$WORK/broken.toml"
refused 'broken.toml.*line|line.*broken.toml' sheen-mds --config "$WORK/broken.toml"
printf 'dri = "x"\n' >"$WORK/unknown.toml"
refused 'dri' sheen-mds --config "$WORK/unknown.toml"
refused 'format' sheen-mds --dir "$WORK/not-formatted" --fsname sheen
refused 'no-such-option' sheen-mds --no-such-option
refused 'fsname' sheen format mdt --fsname waytoolongname --index 0 --mgs localhost --dir "$WORK/m"

status=0
sheen-mds --config "$WORK/unknown.toml" 2>/dev/null || status=$?
[ "$status" = 2 ] || die "exit status $status for a wrong configuration file"
status=0
sheen-mds --dir "$WORK/m" --listen 0.0.0.0 2>/dev/null || status=$?
[ "$status" = 2 ] || die "exit status $status for a wrong configuration"

# A first `up` that fails leaves nothing.
refused 'too small|at least|1M' sheen dev up --name "$NAME" --dir "$WORK/cluster" --size 1M
refused 'no instance|there is no' sheen dev status --name "$NAME"
[ ! -e "$WORK/cluster" ] || die "a failed up left $(find "$WORK/cluster")"

cluster_up --size 200M
refused "bogus" sheen dev mount "$WORK/bogus" --client-opt bogus --name "$NAME"
echo keep >"$MNT/keep"
status() { sheen dev status --name "$NAME" --json; }
field() { # daemon, expression on it
  status | python3 -c 'import json,sys
d=[d for d in json.load(sys.stdin)["daemons"] if d["name"]==sys.argv[1]][0]
print(eval(sys.argv[2]))' "$1" "$2"
}
mds_dir=$(field mds0 'd["directory"]')
mds_port=$(field mds0 'd["ports"]["data"]')

# A second start on a store in use; another filesystem's store; a port in use.
refused 'in use|another process|already' sheen-mds --dir "$mds_dir" --fsname sheen --port 0 --control-port 0
sheen format mdt --fsname other --index 0 --mgs localhost --dir "$WORK/other-mdt" >/dev/null
refused 'other' sheen-mds --dir "$WORK/other-mdt" --fsname sheen --port 0 --control-port 0
refused "$mds_port" sheen-mds --dir "$WORK/other-mdt" --fsname other --port "$mds_port" --control-port 0
refused 'not empty|already|exists' sheen format mdt --fsname other --index 0 --mgs localhost --dir "$WORK/other-mdt"
refused 'allow' sheen-mds --dir "$WORK/other-mdt" --fsname other --listen 0.0.0.0 --port 0 --control-port 0

# Mounting: wrong host, port, filesystem, option.
mkdir "$WORK/m2"
refused 'no.such.host.invalid' sheen-client no.such.host.invalid:/sheen "$WORK/m2" -o port="$mds_port"
refused 'listens|refused|reach' sheen-client 127.0.0.1:/sheen "$WORK/m2" -o port="$(free_port)"
refused 'wrong' sheen-client 127.0.0.1:/wrong "$WORK/m2" -o port="$mds_port"
refused "data port, 7988" sheen-client 127.0.0.1:/sheen "$WORK/m2" -o port="$(field oss0 'd["ports"]["data"]')"
refused 'control port' sheen-client 127.0.0.1:/sheen "$WORK/m2" -o port="$(field mds0 'd["ports"]["control"]')"
refused 'frobnicate' sheen-client 127.0.0.1:/sheen "$WORK/m2" -o port="$mds_port",frobnicate
refused 'subdir|no such' sheen-client 127.0.0.1:/sheen/none "$WORK/m2" -o port="$mds_port"

# Random bytes at every port: closed with a reason; everything goes on.
for daemon in mds0 oss0 oss1; do
  for port in $(field "$daemon" '" ".join(str(p) for p in d["ports"].values())'); do
    python3 - "$port" <<'PY'
import os, random, socket, sys
rng = random.Random(11)
for i in range(40):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
    try:
        data = rng.randbytes(rng.randrange(1, 5000))
        s.sendall((b"SHN1" + data) if i % 2 else data)
        s.settimeout(0.05)
        s.recv(1000)
    except OSError:
        pass
    s.close()
PY
  done
done
[ "$(cat "$MNT/keep")" = keep ] || die "data after random bytes"
[ "$(field mds0 'd["state"]')" = running ] || die "the MDS died of random bytes"

# A disk that fills up: ENOSPC to the writer, other files unharmed, deletion works.
lfs setstripe -c 1 -i 0 "$MNT/one" 2>/dev/null || { mkdir "$MNT/d"; lfs setstripe -c 1 -i 0 "$MNT/d"; }
target=$MNT/one
[ -e "$target" ] || target=$MNT/d/one
if dd if=/dev/zero of="$target" bs=1M count=400 conv=fsync 2>"$WORK/dd"; then die "400 MiB fit into 200 MiB"; fi
grep -q 'No space left on device' "$WORK/dd" || { cat "$WORK/dd"; die "the writer did not get ENOSPC"; }
[ "$(cat "$MNT/keep")" = keep ] || die "another file was harmed"
# Of what was refused the kernel shows nothing, here either.
dd if="$target" bs=1M iflag=direct status=none | cmp - "$target" || die "cached bytes are not those that were stored"
rm "$target"
deadline=$((SECONDS + 20))
until dd if=/dev/urandom of="$target" bs=1M count=100 conv=fsync 2>/dev/null; do
  [ "$SECONDS" -lt "$deadline" ] || die "no space after deletion"
  sleep 0.2
done
rm "$target"

# An OST missing: the mount works; only what lies there fails or waits.
dd if=/dev/urandom of="$WORK/data" bs=64k count=1 status=none
# (What was full a moment ago is known to have space again with the next heartbeat.)
deadline=$((SECONDS + 20))
until lfs setstripe -c 1 -i 0 "$MNT/on0" 2>/dev/null; do
  [ "$SECONDS" -lt "$deadline" ] || die "the emptied OST is not used again"
  sleep 0.2
done
for i in 1 2 3; do lfs setstripe -c 1 -i $i "$MNT/on$i"; done
for i in 0 1 2 3; do cat "$WORK/data" >"$MNT/on$i"; done
sheen dev umount "$MNT" --name "$NAME" >/dev/null
sheen dev stop oss1 --name "$NAME" >/dev/null
sheen dev mount "$MNT" --name "$NAME" >/dev/null || die "mount without oss1"
[ "$(cat "$MNT/keep" 2>/dev/null || echo keep)" = keep ] || die "keep"
up=0
for i in 0 1 2 3; do
  if timeout 8 cmp -s "$MNT/on$i" "$WORK/data"; then up=$((up + 1)); fi
done
[ "$up" = 2 ] || die "$up of 4 files are readable while one of two OSSs is down"
sheen dev start oss1 --name "$NAME" >/dev/null
for i in 0 1 2 3; do timeout 20 cmp "$MNT/on$i" "$WORK/data" || die "on$i after the OSS came back"; done

# A store on a full disk and on a read-only one.
mkdir "$WORK/tiny"
mount -t tmpfs -o size=64k tmpfs "$WORK/tiny"
test_cleanup() { mountpoint -q "$WORK/tiny" && umount -l "$WORK/tiny"; }
refused 'space|full' sheen format mdt --fsname tiny --index 0 --mgs localhost --dir "$WORK/tiny/mdt"
umount "$WORK/tiny"
mount -t tmpfs -o size=64m tmpfs "$WORK/tiny"
sheen format mdt --fsname tiny --index 0 --mgs localhost --dir "$WORK/tiny/mdt" >/dev/null
# A neighbour fills the disk: the store starts from what it has set aside; without that it says so.
serves() { # command...: it starts, and ends when told
  rm -f "$WORK/ready"
  "$@" --ready-fd 3 3>"$WORK/ready" 2>"$WORK/out" & local pid=$!
  local deadline=$((SECONDS + 20))
  until [ -s "$WORK/ready" ]; do [ "$SECONDS" -lt "$deadline" ] || die "does not start: $*"; sleep 0.05; done
  kill "$pid"
  wait "$pid" || die "ended with $?: $*"
  grep -q '^ready' "$WORK/ready" || { cat "$WORK/ready" >&2; die "did not start: $*"; }
}
tiny_mds=(sheen-mds --dir "$WORK/tiny/mdt" --fsname tiny --port 0 --control-port 0)
serves "${tiny_mds[@]}"
for round in 1 2; do
  [ -s "$WORK/tiny/mdt/sheen.reserve" ] || die "nothing was set aside"
  dd if=/dev/zero of="$WORK/tiny/neighbour" bs=4k 2>/dev/null || true
  [ "$(df --output=avail "$WORK/tiny" | tail -n 1)" -eq 0 ] || die "the disk is not full"
  serves "${tiny_mds[@]}"
  grep -q 'is full' "$WORK/out" || { cat "$WORK/out"; die "starts on a full disk and does not say so"; }
  cat /dev/zero >>"$WORK/tiny/neighbour" 2>/dev/null || true
  refused "disk of $WORK/tiny/mdt is full.*remove" "${tiny_mds[@]}"
  grep -q Assertion "$WORK/out" && die "aborted on a full disk"
  rm "$WORK/tiny/neighbour"
  serves "${tiny_mds[@]}"
done
mount -o remount,ro "$WORK/tiny"
refused 'read-only.*remount,rw' sheen-mds --dir "$WORK/tiny/mdt" --fsname tiny --port 0 --control-port 0
umount "$WORK/tiny"

# Targets that are not whole, or named twice.
sheen format ost --fsname tiny --index 0 --mgs 127.0.0.1:1 --dir "$WORK/o" >/dev/null
free=(--port 0 --control-port 0)
refused 'given twice' sheen-oss --target "$WORK/o" --target "$WORK/o/" "${free[@]}"
mv "$WORK/o/objects" "$WORK/aside"
refused 'objects is gone.*restore' sheen-oss --target "$WORK/o" "${free[@]}"
mv "$WORK/aside" "$WORK/o/objects"
rm "$WORK/o/index/CURRENT"
refused 'CURRENT is gone.*restore' sheen-oss --target "$WORK/o" "${free[@]}"
for manifest in "$WORK/other-mdt"/MANIFEST-*; do truncate -s 20 "$manifest"; done
refused 'damaged or missing.*restore' sheen-mds --dir "$WORK/other-mdt" "${free[@]}"
say ok
