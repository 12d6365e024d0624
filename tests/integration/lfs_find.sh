#!/usr/bin/env bash
# lfs find, osts, mdts, check, getname, getdirstripe, mkdir on a real mount.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 1 --osts 3
cd "$WORK"

# found WORDS...: names below the mount, sorted, in one line.
found() { lfs find "$MNT" "$@" | sed "s|^$MNT/*||; s|^$|.|" | sort | tr '\n' ' '; }
expect() { [ "$1" = "$2" ] || die "expected '$2', got '$1'"; }

mkdir "$MNT/d"
lfs setstripe -c 3 -S 128K "$MNT/wide"
lfs setstripe -c 1 -i 1 "$MNT/narrow"
lfs setstripe -E 1M -c 1 -E -1 -c 2 "$MNT/d/pfl"
head -c 5000 /dev/zero >"$MNT/wide"
head -c 2000000 /dev/zero >"$MNT/d/pfl"
ln -s wide "$MNT/link"
touch -d '10 days ago' "$MNT/narrow"
ln "$MNT/narrow" "$MNT/d/second"

expect "$(found)" ". d d/pfl d/second link narrow wide "
expect "$(found -type f)" "d/pfl d/second narrow wide "
expect "$(found -type l)" "link "
expect "$(found -name 'w*' -type f)" "wide "
expect "$(found ! -type d ! -name 'w*')" "d/pfl d/second link narrow "
expect "$(found -size +1M)" "d/pfl "
expect "$(found -type f -size -8k)" "d/second narrow wide "
expect "$(found -type f -mtime +5)" "d/second narrow "
expect "$(found -links 2 -type f)" "d/second narrow "
expect "$(found --maxdepth 0)" ". "
expect "$(found -type f --mindepth 2)" "d/pfl d/second "
expect "$(found --stripe-count 3)" "wide "
expect "$(found -type f --stripe-size 128K)" "wide "
expect "$(found --stripe-index 1 -type f -name narrow)" "narrow "
expect "$(found --component-count +1)" "d/pfl "
expect "$(found -type f --ost 0-2 -name wide)" "wide "
expect "$(found -type f --layout raid0 ! -name '*s*')" "d/pfl narrow wide "
expect "$(found -user "$(id -un)" -name narrow)" "narrow "
expect "$(found ! -user "$(id -un)")" ""
expect "$(found -group "$(id -gn)" -name narrow) $(found ! -group "$(id -gn)")" "narrow  "
expect "$(found -type f ! -size +1M ! -mtime +5)" "wide "
expect "$(found -type f ! --stripe-count 1 -name '*w*')" "wide "
expect "$(found -type f ! --stripe-size 128K ! --component-count +1)" "d/second narrow "
expect "$(found -type f ! --ost 1 -name narrow)" ""
expect "$(found -type f --mdt 0 ! -name '*s*')" "d/pfl narrow wide "
expect "$(found -type f ! --mdt 0)$(found -type f --mdt 1)" ""
expect "$(found -type f ! --layout raid0)$(found --layout released)" ""
# Times: of access, of data, of attributes; -newerXY with a file's and a written one's.
touch -a -d '20 days ago' "$MNT/wide"
expect "$(found -type f -atime +15)" "wide "
expect "$(found -type f ! -atime +15)" "d/pfl d/second narrow "
expect "$(found -type f -ctime -1 -name narrow)$(found -type f -ctime +1)" "narrow "
expect "$(found -type f ! -ctime -1)" ""
expect "$(found -type f -newermm "$MNT/narrow")" "d/pfl wide "
expect "$(found -type f ! -newer "$MNT/narrow")" "d/second narrow "
expect "$(found -type f -newerma "$MNT/wide")" "d/pfl d/second narrow wide "
expect "$(found -type f ! -neweram "$MNT/narrow")" "d/second narrow wide "
expect "$(found -type f -newermt "$(date -d '5 days ago' '+%Y-%m-%d %H:%M:%S')")" "d/pfl wide "
expect "$(found -type f -newerat "@$(date -d '15 days ago' +%s)")" "d/pfl d/second narrow "
expect "$(found -type f -newerct 2100-01-01)" ""
expect "$(lfs find "$MNT" -name wide -printf '%f %s %Lc %LS %y\n')" "wide 5000 3 131072 f"
expect "$(lfs find "$MNT" -name wide -printf '[%LF]')" "$(lfs path2fid "$MNT/wide")"
expect "$(lfs find "$MNT" -type f -print0 | tr -cd '\0' | wc -c)" 4
set +e
lfs find "$MNT/none" >"$WORK/out" 2>&1
expect "$? $(cat "$WORK/out")" "2 lfs: failed for '$MNT/none': No such file or directory"
lfs find "$MNT" --mirror-count 2 >"$WORK/out" 2>&1
expect "$?" 95
lfs find "$MNT" -size nonsense >"$WORK/out" 2>&1
expect "$?" 4
lfs find "$MNT" -newermB "$MNT/wide" >"$WORK/out" 2>&1
expect "$?" 95
grep -q 'option -newermB is not implemented in Sheen' "$WORK/out" || die "$(cat "$WORK/out")"
lfs find "$MNT" -newermt tomorrow >"$WORK/out" 2>&1
expect "$?" 4
grep -q "bad time 'tomorrow' for -newermt" "$WORK/out" || die "$(cat "$WORK/out")"
lfs find "$MNT" -printf '%p\n' >/dev/full 2>"$WORK/out"
expect "$?" 1
grep -q 'lfs: write to standard output: No space left on device' "$WORK/out" || die "$(cat "$WORK/out")"
lfs getstripe -r "$MNT" >/dev/full 2>"$WORK/out"
expect "$?" 1
grep -q 'lfs: write to standard output: No space left on device' "$WORK/out" || die "$(cat "$WORK/out")"
lfs find /proc/self/comm --stripe-count 1 >"$WORK/out" 2>&1
expect "$?" 25
set -e
say "find finds"

# Layouts taken from elsewhere, and filters of getstripe.
lfs setstripe --copy "$MNT/d/pfl" "$MNT/copied"
expect "$(lfs getstripe --component-count "$MNT/copied") $(lfs getstripe -E -I2 "$MNT/copied")" "2 EOF"
lfs getstripe -y "$MNT/wide" >"$WORK/wide.yaml"
lfs setstripe --yaml "$WORK/wide.yaml" "$MNT/from_yaml"
expect "$(lfs getstripe -y "$MNT/from_yaml" | grep -v l_fid)" "$(grep -v l_fid "$WORK/wide.yaml")"
lfs getstripe -d -y "$MNT/d" >/dev/null
lfs setstripe --copy "$MNT/wide" "$MNT/d"
touch "$MNT/d/inherits"
expect "$(lfs getstripe -c "$MNT/d/inherits") $(lfs getstripe -S "$MNT/d/inherits")" "3 131072"
expect "$(lfs getstripe -I --component-end=1M "$MNT/d/pfl")" 1
expect "$(lfs getstripe -I --component-start=+0 "$MNT/d/pfl")" 2
expect "$(lfs getstripe -O 1 "$MNT/narrow" | grep -c ' \*$')" 1
expect "$(lfs getstripe -O 0 "$MNT/narrow")" ""
expect "$(lfs getstripe --no-follow "$MNT/link")" "$MNT/link has no stripe info"
expect "$(lfs getstripe --mirror-id "$MNT/d/pfl")" 0
expect "$(lfs getstripe -c --mirror-id=^0 "$MNT/d/pfl")$(lfs getstripe -c --mirror-id=1 "$MNT/wide")" ""
expect "$(lfs getstripe -c --mirror-id=0 "$MNT/wide")" 3
set +e
lfs getstripe -z "$MNT/wide" >/dev/null 2>"$WORK/out"
expect "$? $(cat "$WORK/out")" \
  "95 lfs getstripe: option -z is not implemented in Sheen: Operation not supported (95)"
lfs getstripe --mirror-id=x "$MNT/wide" >/dev/null 2>"$WORK/out"
expect "$? $(cat "$WORK/out")" "4 lfs getstripe: bad mirror id 'x'"
lfs setstripe --copy "$MNT/wide" -c 2 "$MNT/both" >/dev/null 2>&1
expect "$?" 4
lfs setstripe --yaml "$WORK/none" "$MNT/both" 2>/dev/null
expect "$?" 2
[ -e "$MNT/both" ] && die "a file was made although its layout could not be read"
set -e
say "layouts are copied"

expect "$(lfs osts "$MNT")" "OBDS:
0: sheen-OST0000_UUID ACTIVE
1: sheen-OST0001_UUID ACTIVE
2: sheen-OST0002_UUID ACTIVE"
expect "$(lfs mdts "$MNT")" "MDTS:
0: sheen-MDT0000_UUID ACTIVE"
instance=$(lfs getname -i "$MNT")
expect "$(lfs getname "$MNT")" "sheen-$instance"
expect "$(lfs getname -n "$MNT")" sheen
lctl get_param -N "llite.sheen-$instance.stats" >/dev/null || die "lctl and lfs name the mount apart"
expect "$(lfs check mds "$MNT")" "sheen-MDT0000-mdc-$instance active."
expect "$(lfs check all "$MNT" | wc -l)" 5
expect "$(lfs flushctx "$MNT")" ""
expect "$(lfs getdirstripe "$MNT/d")" "lmv_stripe_count: 0 lmv_stripe_offset: 0 lmv_hash_type: none"
expect "$(lfs getdirstripe -m "$MNT/d")" 0
lfs mkdir -i 0 -o 0711 "$MNT/made" "$MNT/d/made/"
expect "$(stat -c %a "$MNT/made")" 711
set +e
lfs mkdir -i 3 "$MNT/other" 2>/dev/null
expect "$?" 19
lfs mkdir "$MNT/made" 2>"$WORK/out"
expect "$?" 17
grep -q "cannot create dir '$MNT/made': File exists" "$WORK/out" || die "$(cat "$WORK/out")"
lfs mkdir "$WORK/elsewhere" 2>/dev/null
expect "$? $([ -d "$WORK/elsewhere" ] && echo made)" "25 "
sheen dev stop oss0 --name "$NAME" >/dev/null
# Known at once, or when a goodbye that was lost has been missed.
for _ in $(seq 100); do
  lfs check osts "$MNT" >/dev/null 2>"$WORK/out"
  checked=$?
  [ "$checked" = 0 ] || break
  sleep 0.1
done
expect "$checked" 11
grep -q "error: check 'sheen-OST0000-osc-$instance': Resource temporarily unavailable (11)" \
  "$WORK/out" || die "$(cat "$WORK/out")"
set -e
sheen dev start oss0 --name "$NAME" >/dev/null
say "targets and directories are shown"

# Objects by their FIDs.
fid=$(lfs path2fid "$MNT/d/pfl")
by_fid="$MNT/.lustre/fid"
cmp "$MNT/d/pfl" "$by_fid/$fid" || die "another file by its FID"
expect "$(stat -c '%i %s' "$by_fid/${fid//[\[\]]/}")" "$(stat -c '%i %s' "$MNT/d/pfl")"
expect "$(ls "$by_fid/$(lfs path2fid "$MNT/d")")" "$(ls "$MNT/d")"
expect "$(ls "$MNT/d" | wc -l)" 4
printf 'by its FID' | dd of="$by_fid/$fid" bs=1 seek=100 conv=notrunc status=none
expect "$(dd if="$MNT/d/pfl" bs=1 skip=100 count=10 status=none)" "by its FID"
[ -z "$(ls -A "$MNT" | grep -x .lustre)" ] || die ".lustre is listed"
set +e
cat "$by_fid/[0x200000400:0xfffff:0x0]" 2>"$WORK/out"
expect "$?" 1
grep -q 'No such file' "$WORK/out" || die "$(cat "$WORK/out")"
for command in "touch $by_fid/x" "rm $by_fid/$fid" "mkdir $MNT/.lustre/x" "rmdir $MNT/.lustre" \
  "ls $by_fid" "mv $MNT/wide $by_fid/y" "chmod 777 $MNT/.lustre"; do
  $command 2>"$WORK/out" && die "'$command' did something"
  grep -q 'Operation not permitted' "$WORK/out" || die "$command: $(cat "$WORK/out")"
done
setpriv --reuid 1000 --clear-groups stat "$by_fid/$fid" 2>"$WORK/out"
expect "$?" 1
grep -q 'Permission denied' "$WORK/out" || die "$(cat "$WORK/out")"
set -e
say "files are found by their FIDs"
