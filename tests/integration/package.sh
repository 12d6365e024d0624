#!/usr/bin/env bash
# The Debian package on a bootstrapped Debian, with systemd as its process 1 (systemd-nspawn, so that
# the units' hardening is what it is in production): built, looked at by lintian, installed with what it
# depends on, formatted, enabled, mounted, booted again, removed, purged; nothing stays behind.
. "$(dirname "$0")/../support/cluster.sh"
for tool in debootstrap systemd-nspawn lintian dh; do
  command -v $tool >/dev/null || die "$tool is missing: deploy/install-packages --tests"
done
TREE=$WORK/debian
CONSOLE=$WORK/console
nspawn= leader=
test_cleanup() {
  [ -z "$nspawn" ] || power_off || kill -9 "$nspawn" 2>/dev/null
  [ "$status" -eq 0 ] || tail -n 20 "$CONSOLE" 2>/dev/null >&2
}
mirror() { # of the machine that runs the test
  grep -rhoE '^(URIs:|deb) .*https?://[^ ]*debian/?( |$)' /etc/apt/sources.list* 2>/dev/null |
    grep -oE 'https?://[^ ]*' | head -n 1
}
# As a login there has it: nothing of the test's environment (SHEEN_RUN_DIR, PATH).
inside() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    nsenter -t "$leader" -m -u -i -n -p -r -w "$@"
}
script() { # what is said, to be run inside by bash; its output is shown when it fails
  inside bash -euxc "$2" >"$WORK/script" 2>&1 || { cat "$WORK/script" >&2; die "$1"; }
}
boot() {
  # No network but loopback: two tests on one machine have the default ports each.
  systemd-nspawn --quiet --register=no --keep-unit --boot --private-network --bind=/dev/fuse \
    --machine="sheen-$$" -D "$TREE" </dev/null >"$CONSOLE" 2>&1 &
  nspawn=$!
  local deadline=$((SECONDS + 60))
  until leader=$(pgrep -P "$nspawn" | head -n 1) && [ -n "$leader" ] &&
    inside systemctl is-system-running 2>/dev/null | grep -qx running; do
    [ "$SECONDS" -lt "$deadline" ] || die "Debian does not boot: $(tail -n 5 "$CONSOLE")"
    sleep 0.2
  done
}
power_off() {
  kill -s RTMIN+4 "$leader" # systemd(1): poweroff.target
  local deadline=$((SECONDS + 40))
  while kill -0 "$nspawn" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
  wait "$nspawn" || true
  nspawn=
}
files() { # every path but those that any Debian writes by itself
  find "$TREE" -xdev \( -path "$TREE/var/log/journal" -o -path "$TREE/var/cache" -o -path "$TREE/tmp" \
    -o -path "$TREE/var/tmp" -o -path "$TREE/var/lib/systemd" -o -path "$TREE/run" \) -prune -o -print |
    sed "s#^$TREE##" | sort
}

say "build, and lintian"
"$ROOT/deploy/deb/build" --no-compile --no-dbgsym --build "$BIN/.." --out "$WORK/deb" >"$WORK/out" 2>&1 ||
  { cat "$WORK/out" >&2; die "deploy/deb/build"; }
lintian --allow-root --fail-on error,warning "$WORK"/deb/sheen_*.changes >"$WORK/out" 2>&1 ||
  { cat "$WORK/out" >&2; die "lintian"; }

say "debootstrap"
# SHEEN_DEBIAN_TAR, if there is such a file, saves the minute that it takes.
if [ -e "${SHEEN_DEBIAN_TAR:-}" ]; then
  mkdir "$TREE"
  tar -C "$TREE" -xpf "$SHEEN_DEBIAN_TAR"
else
  debootstrap --variant=minbase --include=systemd,systemd-sysv bookworm "$TREE" "$(mirror)" \
    >"$WORK/out" 2>&1 || { tail "$WORK/out" >&2; die "debootstrap"; }
fi
cp "$WORK"/deb/sheen_*_amd64.deb "$TREE/root/sheen.deb"
cp -L /etc/resolv.conf "$TREE/etc/resolv.conf"
chroot "$TREE" sh -c 'apt-get update && apt-get install -y --download-only /root/sheen.deb' \
  >"$WORK/out" 2>&1 || { tail "$WORK/out" >&2; die "what the package depends on cannot be had"; }
boot

say "install, twice, with a purge between them"
# There is no network inside; everything has been downloaded.
install='DEBIAN_FRONTEND=noninteractive apt-get install -y'
script "install" "$install /root/sheen.deb"
script "purge of what was never used" 'dpkg --purge sheen; [ ! -e /var/lib/sheen ]; [ ! -e /etc/sheen ]'
files >"$WORK/before"
script "install again" "$install /root/sheen.deb"
script "what was installed" '
  getent passwd sheen
  [ "$(stat -c %U:%a /var/lib/sheen)" = sheen:755 ]
  [ -z "$(systemctl list-units --no-legend --state=active "sheen-*")" ]
  systemctl is-enabled sheen.target
  dpkg-query -W -f "\${Conffiles}" sheen | grep /etc/sheen/oss.toml
  command -v /sbin/mount.sheen sheen lfs lctl sheen-bench sheen-client sheen-agent
  mount -t sheen -f 127.0.0.1:/sheen /mnt'

say "servers as user sheen, hardened"
# As /usr/share/doc/sheen/README.Debian says, and docs/operations/install.md of a second OST.
script "format and start" '
  install -d -o sheen -g sheen /var/lib/sheen/mdt0 /var/lib/sheen/ost0 /var/lib/sheen/ost1
  runuser -u sheen -- sheen format mdt --fsname sheen --dir /var/lib/sheen/mdt0
  runuser -u sheen -- sheen format ost --fsname sheen --index 0 --mgs 127.0.0.1 --dir /var/lib/sheen/ost0
  runuser -u sheen -- sheen format ost --fsname sheen --index 1 --mgs 127.0.0.1 --dir /var/lib/sheen/ost1
  echo "SHEEN_OSS_OPTIONS=--target /var/lib/sheen/ost1" >/etc/default/sheen-oss-ost0
  systemctl enable --now sheen-mds@mdt0 sheen-oss@ost0
  sheen status | grep "sheen-OST0000 *up"
  sheen status | grep "sheen-OST0001 *up"
  for program in sheen-mds sheen-oss; do
    state=/proc/$(pidof $program)/status
    [ "$(stat -c %U $state)" = sheen ]
    grep -x "NoNewPrivs:.1" $state
    grep -x "Seccomp:.2" $state
    grep -xE "CapBnd:.0+" $state
  done'

say "mount, with an option of /etc/sheen/client.toml"
script "mount and write" '
  echo "options = [\"noatime\"]" >>/etc/sheen/client.toml
  echo "127.0.0.1:/sheen /mnt sheen _netdev,nofail 0 0" >>/etc/fstab
  mount /mnt
  grep "/mnt fuse.sheen .*noatime" /proc/mounts
  [ -s /var/log/sheen/client-mnt.log ]
  cp -a /usr/lib/systemd /mnt/tree
  diff -r --no-dereference /usr/lib/systemd /mnt/tree
  lfs setstripe -c 2 -S 4M /mnt/striped && lfs getstripe /mnt/striped | grep 4194304
  lfs df /mnt'
script "servers are restarted under the mount" '
  systemctl restart sheen.target
  lctl dl | grep " mdt sheen-MDT0000 "
  lctl dl | grep " obdfilter sheen-OST0001 "
  diff -r --no-dereference /usr/lib/systemd /mnt/tree'
script "upgrade by the same package, which restarts nothing" '
  before=$(pidof sheen-mds sheen-oss)
  dpkg -i /root/sheen.deb
  [ "$(pidof sheen-mds sheen-oss)" = "$before" ]
  grep noatime /etc/sheen/client.toml'

script "support-bundle has the journal and the configuration" '
  sheen support-bundle --out /root/bundle.tar.gz
  tar -C /root -xzf /root/bundle.tar.gz
  grep "sheen-oss 0.*serve on" /root/sheen-support-*/logs/journal
  grep noatime /root/sheen-support-*/configuration/etc-sheen-client.toml
  grep serving /root/sheen-support-*/status/127.0.0.1:7989
  rm -r /root/bundle.tar.gz /root/sheen-support-*'

say "the machine goes down under the mount, and comes up with it"
begin=$SECONDS
power_off || die "it does not go down in 40 s: $(tail -n 5 "$CONSOLE")"
say "down in $((SECONDS - begin)) s"
boot
script "everything is there after the boot" '
  mountpoint /mnt
  diff -r --no-dereference /usr/lib/systemd /mnt/tree
  [ -z "$(systemctl --failed --no-legend)" ]'

say "remove, then purge"
script "remove" '
  umount /mnt
  dpkg --remove sheen
  if pidof sheen-mds sheen-oss sheen-client; then exit 1; fi
  [ -e /etc/sheen/client.toml ]
  [ -e /var/lib/sheen/ost0/superblock ]'
script "purge" '
  dpkg --purge sheen
  [ -e /var/lib/sheen/ost0/superblock ]
  rm -r /var/lib/sheen /etc/default/sheen-oss-ost0'
power_off || die "it does not go down in 40 s"
files >"$WORK/after"
diff "$WORK/before" "$WORK/after" >"$WORK/left" || { cat "$WORK/left" >&2; die "files are left, or gone"; }
say ok
