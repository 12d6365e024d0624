#!/usr/bin/env bash
# The tar test: a Linux source tree (about 80,000 files, over 1 GiB) unpacked on the mount equals the
# original, by content, names and attributes; again cold and after a restart.
. "$(dirname "$0")/../support/cluster.sh"
archive=/usr/src/linux-source-6.1.tar.xz
[ -f "$archive" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  linux-source-6.1 >/dev/null || die "cannot install linux-source-6.1"
mkdir "$WORK/local"
tar -C "$WORK/local" -xf "$archive"
cluster_up
start=$(date +%s)
tar -C "$WORK/local" -cf - . | tar -C "$MNT" -xf -
say "unpacked in $(($(date +%s) - start)) s"
touch -r "$WORK/local" "$MNT"
same_thrice "$WORK/local" "$MNT"
start=$(date +%s)
rm -rf "$MNT"/*
say "removed in $(($(date +%s) - start)) s"
say ok
