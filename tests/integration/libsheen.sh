#!/usr/bin/env bash
# libsheen, installed and found by pkg-config: what it writes a mount reads, and the reverse; names,
# layouts, errors; sheen-bench ior -a SHEEN.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 2 --osts 4
cd "$WORK"
port=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["servers"][0]["data_port"])' \
  "$WORK/cluster/state.json")
fs=127.0.0.1:/sheen

mkdir -p root/lib/pkgconfig root/include/sheen
cp "$BIN/../lib/libsheen.a" root/lib/; cp "$BIN/../lib/sheen.pc" root/lib/pkgconfig/
cp "$ROOT"/include/sheen/{client,sheen,result}.h root/include/sheen/
export PKG_CONFIG_PATH=$WORK/root/lib/pkgconfig
# shellcheck disable=SC2046 # words
gcc -Wall -Wextra -Werror -pedantic "$ROOT/examples/libsheen.c" $(pkg-config --cflags --libs sheen) -o sheen-cp
# shellcheck disable=SC2046
clang++-19 -std=c++23 -Wall -Werror "$ROOT/examples/libsheen.cc" $(pkg-config --cflags --libs sheen) -o many
cp_() { ./sheen-cp "$fs" "$port" "$@"; }
say "the examples build against what is installed"

head -c 5000003 /dev/urandom >data
mkdir "$MNT/d"
cp_ put /d/by_lib <data
cmp data "$MNT/d/by_lib" || die "the mount reads something else"
cp data "$MNT/d/by_mount"; sync "$MNT/d/by_mount"
cp_ get /d/by_mount >back
cmp data back || die "the library reads something else"
# Without a sync in between: the servers' locks see to it.
(for i in $(seq 20); do echo "line $i"; done) >"$MNT/d/fresh"
[ "$(cp_ get /d/fresh | tail -n 1)" = "line 20" ] || die "what the mount has just written"
echo longer than before | cp_ put /d/fresh
[ "$(cat "$MNT/d/fresh")" = "longer than before" ] || die "what the library has just written"
[ "$(cp_ list /d | sort -k2 | tr '\n' ' ')" = "$(cd "$MNT/d"; stat -c '%i %n' by_lib by_mount fresh | tr '\n' ' ')" ] ||
  die "$(cp_ list /d)"
ln -s ../d/by_lib "$MNT/d/link"
cp_ get /d/../d/link | cmp - data || die "a symbolic link"
say "mount and library see one filesystem"

./many "$fs" "$port" /d/striped >out || die "many requests at a time"
[ "$(cat out)" = "2 stripes of 1048576 bytes" ] || die "$(cat out)"
[ "$(lfs getstripe -c "$MNT/d/striped")" = 2 ] || die "$(lfs getstripe "$MNT/d/striped")"
[ "$(stat -c %s "$MNT/d/striped")" = 16777216 ] || die "its size"
cp_ get /d/striped | cmp - "$MNT/d/striped" || die "its bytes"
cp_ get /d/none 2>err && die "a file that is not there"
grep -q "/d/none: 'none': No such file or directory" err || die "$(cat err)"
cp_ list /d/by_lib 2>err && die "a file was listed"
grep -q "Not a directory" err || die "$(cat err)"
cp_ get /d/by_lib/ 2>err && die "a file with a slash behind it"
grep -q "Not a directory" err || die "$(cat err)"
./sheen-cp 127.0.0.1:/other "$port" list / 2>err && die "another filesystem"
grep -q "other" err || die "$(cat err)"
./sheen-cp nonsense "$port" list / 2>err && die "nonsense"
grep -q "'nonsense'" err || die "$(cat err)"
chmod 711 "$WORK"; chmod 700 "$MNT/d"; chmod 755 sheen-cp
status=0
setpriv --reuid 1000 --clear-groups ./sheen-cp "$fs" "$port" get /d/by_lib >/dev/null 2>err || status=$?
[ $status = 1 ] && grep -q "Permission denied" err || die "another user: $status $(cat err)"
fid=$(lfs path2fid "$MNT/d/by_lib")
cp_ get "/.lustre/fid/$fid" | cmp - data || die "root, by FID"
chmod 644 "$MNT/d/by_lib"; status=0
setpriv --reuid 1000 --clear-groups ./sheen-cp "$fs" "$port" get "/.lustre/fid/$fid" >/dev/null 2>err || status=$?
[ $status = 1 ] && grep -q "Permission denied" err || die "another user, by FID: $status $(cat err)"
say "layouts and errors"

sheen-bench ior -a SHEEN --sheen.source "$fs" --sheen.port "$port" -N 2 -b 4m -t 1m -w -r -W -R -C -e -k \
  -o /d/ior >ior.out || { cat ior.out; die "ior -a SHEEN"; }
grep -q '^api *: SHEEN' ior.out || die "$(cat ior.out)"
[ "$(stat -c %s "$MNT/d/ior")" = 8388608 ] || die "ior's file"
sheen-bench ior -N 2 -b 4m -t 1m -r -R -C -k -o "$MNT/d/ior" >/dev/null || die "read by the mount"
sheen-bench ior -a SHEEN --sheen.source "$fs" --sheen.port "$port" -N 2 -F -z -b 1m -t 64k -w -r -R -o /d/own >ior.out ||
  { cat ior.out; die "ior -a SHEEN -F"; }
[ -z "$(ls "$MNT/d" | grep own || true)" ] || die "ior left its files"
sheen-bench ior -a SHEEN -o /d/x 2>err && die "without --sheen.source"
grep -q "sheen.source" err || die "$(cat err)"
sheen-bench ior -a MPIIO -o /d/x 2>err && die "-a MPIIO"
grep -q "MPIIO" err || die "$(cat err)"
say "sheen-bench ior -a SHEEN"
