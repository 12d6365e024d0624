#!/usr/bin/env bash
# cp -a of /usr/include compares equal at once, with cold caches, and after a restart of all daemons.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
cp -a /usr/include "$MNT/include"
same_thrice /usr/include "$MNT/include"
rm -rf "$MNT/include"
[ -z "$(ls -A "$MNT")" ] || die "rm -rf left something"
say ok
