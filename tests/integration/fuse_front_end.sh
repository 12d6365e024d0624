#!/bin/bash
# The FUSE front end end to end, with both transports, over real mounts (root; skipped without):
# a tree copied in and out is the same, names and attributes behave, thousands of files come and go,
# a killed daemon's mount is replaced, umount ends the daemon, umount -f frees a stuck caller.
#
#   tests/integration/fuse_front_end.sh [BIN_DIR]      (default build/release/bin)
set -euo pipefail

bin=$(realpath "${1:-$(dirname "$0")/../../build/release/bin}")
if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
  echo "SKIP: needs root and /dev/fuse"
  exit 77
fi
work=$(mktemp -d /tmp/fuse_front_end.XXXXXX)
mnt=$work/mnt
src=$work/src
mkdir "$mnt" "$src"
switch=/sys/module/fuse/parameters/enable_uring
switch_before=$(cat $switch 2>/dev/null || echo none)
daemon=
transport=

fail() {
  echo "FAIL ($transport): $*" >&2
  exit 1
}

clean_up() {
  local status=$?
  umount -f "$mnt" 2>/dev/null || true
  umount -l "$mnt" 2>/dev/null || true
  if [ -n "$daemon" ]; then kill -9 "$daemon" 2>/dev/null || true; fi
  umount "$src" 2>/dev/null || true
  if [ "$switch_before" != none ]; then echo "$switch_before" > $switch; fi
  if [ $status = 0 ]; then rm -rf "$work"; else echo "left in $work" >&2; fi
}
trap clean_up EXIT

start() {
  : > "$work/ready"
  "$bin/fuse_ceiling" --dir "$src" --mount "$mnt" --io-uring "$1" > "$work/ready" \
    2>> "$work/log" &
  daemon=$!
  for _ in $(seq 200); do
    grep -q ready "$work/ready" && break
    kill -0 "$daemon" 2>/dev/null || fail "the daemon ended: $(tail -1 "$work/log")"
    sleep 0.05
  done
  grep -q "ready $transport" "$work/ready" || fail "serves by $(cat "$work/ready")"
  grep -q "^sheen $mnt fuse.sheen " /proc/mounts || fail "/proc/mounts does not show fuse.sheen"
}

await_end() {
  for _ in $(seq 200); do
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.05
  done
  kill -0 "$daemon" 2>/dev/null && fail "the daemon outlives its mount"
  wait "$daemon" || fail "the daemon failed: $(tail -1 "$work/log")"
  daemon=
}

copy_a_tree() {
  cp -a /usr/include "$mnt/tree"
  diff -r --no-dereference /usr/include "$mnt/tree" || fail "the copied tree differs"
  diff -r --no-dereference /usr/include "$src/tree" || fail "it differs below the mount"
  cp -a "$mnt/tree" "$work/out"
  diff -r --no-dereference /usr/include "$work/out" || fail "the tree copied out differs"
  rm -rf "$work/out" "$mnt/tree"
  [ -z "$(ls -A "$mnt")" ] || fail "rm -rf left something"
}

large_files() {
  local size
  for size in 1 4095 4096 4097 1048575 1048576 1048577 33554433; do
    head -c $size /dev/urandom > "$work/data"
    cp "$work/data" "$mnt/large"
    cmp "$work/data" "$mnt/large" || fail "$size bytes came back different"
    echo 1 > "$work/one"
    cat "$work/one" >> "$mnt/large"
    cat "$work/one" >> "$work/data"
    cmp "$work/data" "$src/large" || fail "appending to $size bytes went wrong"
  done
  dd if="$work/data" of="$mnt/direct" bs=1M count=8 oflag=direct status=none
  dd if="$mnt/direct" of="$work/back" bs=4k iflag=direct status=none
  cmp -n 8388608 "$work/data" "$work/back" || fail "O_DIRECT bytes came back different"
  rm "$mnt/large" "$mnt/direct"
}

names_and_attributes() {
  echo text > "$mnt/a"
  ln "$mnt/a" "$mnt/b"
  ln -s a "$mnt/s"
  [ "$(cat "$mnt/s")" = text ] || fail "symlink"
  [ "$(stat -c %h "$mnt/a")" = 2 ] || fail "link count"
  mv "$mnt/b" "$mnt/c"
  [ ! -e "$mnt/b" ] || fail "rename left the old name"
  chmod 640 "$mnt/a"
  chown 12:34 "$mnt/a"
  touch -d @1000000000 "$mnt/a"
  [ "$(stat -c '%a %u %g %Y' "$mnt/c")" = "640 12 34 1000000000" ] || fail "attributes"
  truncate -s 100000 "$mnt/a"
  [ "$(stat -c %s "$mnt/c")" = 100000 ] || fail "truncate"
  exec 7< "$mnt/a"
  rm "$mnt/a" "$mnt/c" "$mnt/s"
  [ "$(head -c 4 <&7)" = text ] || fail "an open file lost its bytes with its name"
  exec 7<&-
  mkdir "$mnt/d"
  rmdir "$mnt/d"
}

# 20,000 in all, by parts: each is an open descriptor of this daemon while the kernel knows it.
many_files() {
  local part
  for part in 1 2 3 4; do
    mkdir "$mnt/many"
    (cd "$mnt/many" && seq -f "file%.0f" 5000 | xargs touch)
    [ "$(ls "$mnt/many" | wc -l)" = 5000 ] || fail "5000 files, part $part: listing"
    [ "$(ls "$mnt/many" | sort -u | wc -l)" = 5000 ] || fail "5000 files: one twice"
    find "$mnt/many" -type f -empty | wc -l | grep -qx 5000 || fail "5000 files: find"
    rm -r "$mnt/many"
    [ -z "$(ls -A "$src")" ] || fail "5000 files: not all removed"
  done
}

many_processes() {
  "$bin/fsbench" --dir "$mnt" --procs 8 --files 200 --mib 8 --seconds 0.3 > "$work/bench.json"
  [ -z "$(ls -A "$mnt")" ] || fail "fsbench left something"
}

killed_daemon() {
  echo before > "$mnt/x"
  kill -9 "$daemon"
  wait "$daemon" 2>/dev/null || true
  cat "$mnt/x" 2>/dev/null && fail "a mount without daemon answers"
  start "$1"
  [ "$(cat "$mnt/x")" = before ] || fail "the new daemon does not serve"
  [ "$(grep -c " $mnt fuse.sheen" /proc/mounts)" = 1 ] || fail "the stale mount is still there"
  rm "$mnt/x"
}

await() { # COMMAND...: until it succeeds
  for _ in $(seq 200); do
    "$@" && return
    sleep 0.02
  done
  fail "waited in vain for: $*"
}

all_threads_stopped() {
  ! grep -h '^State:' /proc/"$daemon"/task/*/status | grep -qv 'T (stopped)'
}

waits_for_answer() {
  grep -q request_wait_answer "/proc/$1/wchan"
}

stopped_daemon() {
  echo here > "$mnt/x"
  kill -STOP "$daemon"
  await all_threads_stopped
  cat "$mnt/x" > /dev/null 2> "$work/cat" &
  local reader=$!
  await waits_for_answer $reader
  timeout 5 umount -f "$mnt" 2>/dev/null || [ $? != 124 ] || fail "umount -f does not return"
  # Over io_uring the kernel takes a request back only in a thread of the daemon that runs.
  [ $transport = classic ] || kill -CONT "$daemon"
  wait $reader && fail "a caller got an answer from nobody"
  umount -l "$mnt" 2>/dev/null || true
  kill -CONT "$daemon" 2>/dev/null || true
  await_end
}

run() {
  start "$1"
  copy_a_tree
  large_files
  names_and_attributes
  many_files
  many_processes
  killed_daemon "$1"
  umount "$mnt"
  await_end
  start "$1"
  kill -TERM "$daemon"
  await_end
  grep -q " $mnt " /proc/mounts && fail "SIGTERM left the mount"
  start "$1"
  stopped_daemon
  echo "PASS $transport"
}

mount -t tmpfs -o mode=755 tmpfs "$src"
transport=classic
run off
rm -rf "${src:?}"/*
if [ -e $switch ]; then
  echo Y > $switch
  transport=io_uring
  run on
  rm -rf "${src:?}"/*
  echo N > $switch
  transport=classic
  start auto
  grep -q "echo Y > $switch" "$work/log" || fail "auto does not say how to switch io_uring on"
  umount "$mnt"
  await_end
  "$bin/fuse_ceiling" --dir "$src" --mount "$mnt" --io-uring on > /dev/null 2> "$work/refused" &&
    fail "io_uring=on mounted without io_uring"
  grep -q "echo Y" "$work/refused" || fail "io_uring=on does not say how to switch it on"
  echo "PASS fallback"
fi
