#!/usr/bin/env bash
# git clone, commit, gc, fsck and a clean status on the mount.
ON_DISK=1
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_NOSYSTEM=1
git config --global user.email test@example.org
git config --global user.name test
git config --global init.defaultBranch main
git config --global safe.directory '*'
git init -q "$WORK/origin"
cp -r "$ROOT/src" "$ROOT/proto" "$WORK/origin/"
git -C "$WORK/origin" add -A
git -C "$WORK/origin" commit -qm one
git clone -q --no-hardlinks "$WORK/origin" "$MNT/clone"
verify() {
  git -C "$MNT/clone" fsck --full >/dev/null 2>"$WORK/fsck" || { cat "$WORK/fsck"; die fsck; }
  [ -z "$(git -C "$MNT/clone" status --porcelain)" ] || die "status is not clean"
}
verify
for i in 1 2 3 4 5; do
  echo "$i" >>"$MNT/clone/src/new.txt"
  git -C "$MNT/clone" add -A
  git -C "$MNT/clone" commit -qm "change $i"
done
git -C "$MNT/clone" gc -q --aggressive --prune=now
verify
cold
verify
restart
verify
[ "$(git -C "$MNT/clone" rev-list --count HEAD)" = 6 ] || die "commits are missing"
say ok
