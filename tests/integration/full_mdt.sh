#!/usr/bin/env bash
# The disk under the MDT fills up: ENOSPC to who creates, everything else goes on, removal gives the
# space back, and nothing is lost over restarts of the MDS, also of a full one.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
# The MDT moves to a small disk.
sheen dev down --name "$NAME" >/dev/null
cp -a "$WORK/cluster/mdt0" "$WORK/aside"
mount -t tmpfs -o size=160m tmpfs "$WORK/cluster/mdt0"
test_cleanup() {
  sheen dev down --name "$NAME" >/dev/null 2>&1
  umount -l "$WORK/cluster/mdt0"
}
cp -a "$WORK/aside/." "$WORK/cluster/mdt0/"
sheen dev up --name "$NAME" >/dev/null || die "sheen dev up on a small disk"
state() {
  sheen dev status --name "$NAME" --json |
    python3 -c 'import json,sys; print(next(d["state"] for d in json.load(sys.stdin)["daemons"] if d["name"] == "mds0"))'
}
serving() { [ "$(state)" = running ] || die "the MDS is $(state)"; }
# What creating says on a full MDT.
refused() { # words, command...
  local words=$1 out
  shift
  if out=$("$@" 2>&1); then die "not refused: $*"; fi
  grep -qF -- "$words" <<<"$out" || die "'$*' does not say '$words': $out"
}

cat >"$WORK/driver.py" <<'PY'
# fill FROM: files with large random xattrs from number FROM on until ENOSPC stays, their values' seeds
#   being their numbers. Prints the number after the last.
# check FROM TO: just these are there, as they were made. remove FROM TO
import errno, os, random, sys, time
what, directory = sys.argv[1:3]
ITEM = 40000
def value(number):
    return random.Random(number).randbytes(ITEM)
def path(number):
    return f"{directory}/x{number}"
def fill(number):
    full_since = 0
    while True:
        try:
            os.close(os.open(path(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.setxattr(path(number), "user.v", value(number))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            if os.path.exists(path(number)):
                os.unlink(path(number))
            # What the log has may come back, within a few seconds.
            full_since = full_since or time.monotonic()
            if time.monotonic() - full_since > 4:
                return number
            time.sleep(0.1)
            continue
        full_since = 0
        number += 1
        if number > 100000:
            sys.exit("the disk does not fill up")
def check(first, end):
    names = sorted(n for n in os.listdir(directory) if n[0] == "x")
    want = sorted(f"x{n}" for n in range(first, end))
    if names != want:
        sys.exit(f"{len(names)} names, not {len(want)}: {set(names) ^ set(want)}")
    for number in range(first, end):
        if os.getxattr(path(number), "user.v") != value(number):
            sys.exit(f"{path(number)} is not as it was made")
if what == "fill":
    print(fill(int(sys.argv[3])))
elif what == "check":
    check(int(sys.argv[3]), int(sys.argv[4]))
elif what == "remove":
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        os.unlink(path(number))
PY
driver() { python3 "$WORK/driver.py" "$1" "$MNT/fill" "${@:2}"; }

mkdir "$MNT/fill" "$MNT/empty"
echo kept >"$MNT/kept"
dd if=/dev/urandom of="$WORK/data" bs=1M count=8 status=none

say "filling 160 MiB"
count=$(driver fill 0) || die "fill"
say "$count files with 40 kB each, $(df --output=avail -k "$WORK/cluster/mdt0" | tail -n 1) KiB are left"
[ "$count" -gt 1000 ] || die "only $count files fit into 160 MiB"
serving

say "full: what adds is refused, what does not goes on"
refused 'No space left on device' touch "$MNT/new"
refused 'No space left on device' mkdir "$MNT/new"
refused 'No space left on device' ln -s target "$MNT/new"
refused 'No space left on device' ln "$MNT/kept" "$MNT/new"
refused 'No space left on device' mkfifo "$MNT/new"
refused 'No space left on device' setfattr -n user.more -v "$(head -c 3000 /dev/zero | tr '\0' x)" "$MNT/kept"
[ "$(cat "$MNT/kept")" = kept ] || die "reading"
cat "$WORK/data" >"$MNT/kept" || die "writing an existing file"
sync "$MNT/kept"
cmp "$MNT/kept" "$WORK/data" || die "what was written"
truncate -s 1000 "$MNT/kept" || die "truncate"
[ "$(stat -c %s "$MNT/kept")" = 1000 ] || die "size after truncate"
chmod 600 "$MNT/kept"
mv "$MNT/kept" "$MNT/moved" || die "rename"
rmdir "$MNT/empty" || die "rmdir"
# Overwriting rows of a full store for ever neither fills it nor stops it.
for round in $(seq 300); do
  : >>"$MNT/moved"
  touch "$MNT/moved"
done
driver check 0 "$count"
serving

say "the MDS is killed and started while full"
sheen dev kill mds0 --name "$NAME"
sheen dev start mds0 --name "$NAME" >/dev/null
driver check 0 "$count"
# A start turns the log into tables, which are smaller.
count=$(driver fill "$count") || die "filling again"
refused 'No space left on device' touch "$MNT/new"
serving

say "removal gives space back"
half=$((count / 2))
driver remove 0 "$half" || die "unlink"
deadline=$((SECONDS + 20))
until mkdir "$MNT/again" 2>"$WORK/out"; do
  [ "$SECONDS" -lt "$deadline" ] || { cat "$WORK/out" >&2; die "no space after deletion"; }
  sleep 0.2
done
for i in $(seq 20); do echo "$i" >"$MNT/again/$i" || die "creating after deletion"; done
driver check "$half" "$count"

say "nothing is lost over a restart"
sheen dev stop mds0 --name "$NAME" >/dev/null
sheen dev start mds0 --name "$NAME" >/dev/null
cold
driver check "$half" "$count"
for i in $(seq 20); do [ "$(cat "$MNT/again/$i")" = "$i" ] || die "again/$i"; done
[ "$(stat -c '%s %a' "$MNT/moved")" = '1000 600' ] || die "moved"
[ ! -e "$MNT/new" ] || die "what was refused is there"
grep -h 'disk is full\|room again\|stopped' "$WORK"/cluster/log/mds0* | cut -c1-150 | head -n 12 || true
grep -q 'nothing more is acknowledged' "$WORK"/cluster/log/mds0* && die "the store was stopped"
say ok
