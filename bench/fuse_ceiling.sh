#!/bin/bash
# What FUSE itself allows on this machine: libfuse's own passthrough_ll example, and fuse_ceiling
# (Sheen's FUSE front end over a local directory) with both transports, all over one tmpfs, measured
# by fsbench in interleaved rounds, so that a noisy neighbour hits all alike.
#
#   bench/fuse_ceiling.sh BIN_DIR [--rounds N] [--procs "1 4"] [--timeout SECONDS] [--quick]
#
# BIN_DIR holds fuse_ceiling and fsbench. Needs root, a compiler (CC, default cc), libfuse3-dev with
# its examples and, for io_uring, /sys/module/fuse/parameters/enable_uring = Y: this script sets it
# and puts it back. Prints medians (and the least and the greatest round) and keeps the JSON of all
# rounds in the directory that it names.
set -euo pipefail

bin=${1:?usage: fuse_ceiling.sh BIN_DIR [--rounds N] [--procs LIST] [--timeout S] [--quick]}
bin=$(realpath "$bin")
shift
rounds=5
procs="1 4"
timeout_seconds=0
load=(--files 3000 --mib 256 --seconds 2)
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --procs) procs=$2; shift 2 ;;
    --timeout) timeout_seconds=$2; shift 2 ;;
    --quick) rounds=2; load=(--files 1000 --mib 64 --seconds 1); shift ;;
    *) echo "fuse_ceiling.sh: unknown option $1" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d /tmp/fuse_ceiling.XXXXXX)
source_dir=$work/source
mount_dir=$work/mount
results=$work/results
mkdir "$source_dir" "$mount_dir" "$results"
switch=/sys/module/fuse/parameters/enable_uring
switch_before=$(cat $switch 2>/dev/null || echo none)
daemon=

clean_up() {
  if [ -n "$daemon" ]; then
    umount -l "$mount_dir" 2>/dev/null || true
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  umount -l "$source_dir" 2>/dev/null || true
  if [ "$switch_before" != none ]; then echo "$switch_before" > $switch; fi
}
trap clean_up EXIT

build_passthrough() {
  local example
  example=$(dpkg -L libfuse3-dev | grep 'passthrough_ll\.c' | head -1)
  [ -n "$example" ] || { echo "no passthrough_ll.c in package libfuse3-dev" >&2; exit 1; }
  mkdir "$work/src"
  cp "$(dirname "$example")"/passthrough_ll.c* "$(dirname "$example")"/passthrough_helpers.h* \
    "$work/src/"
  gunzip -f "$work"/src/*.gz 2>/dev/null || true
  # shellcheck disable=SC2046
  ${CC:-cc} -O2 -w -D_FILE_OFFSET_BITS=64 -DHAVE_POSIX_FALLOCATE=1 "$work/src/passthrough_ll.c" \
    -o "$work/passthrough_ll" $(pkg-config --cflags --libs fuse3)
}

start() {
  case $1 in
    passthrough_ll)
      "$work/passthrough_ll" -f -o "source=$source_dir,timeout=$timeout_seconds" "$mount_dir" \
        2>> "$work/daemon.log" & ;;
    classic)
      "$bin/fuse_ceiling" --dir "$source_dir" --mount "$mount_dir" --io-uring off \
        --timeout "$timeout_seconds" > /dev/null 2>> "$work/daemon.log" & ;;
    io_uring)
      "$bin/fuse_ceiling" --dir "$source_dir" --mount "$mount_dir" --io-uring on \
        --timeout "$timeout_seconds" > /dev/null 2>> "$work/daemon.log" & ;;
  esac
  daemon=$!
  for _ in $(seq 100); do
    grep -q " $mount_dir fuse" /proc/mounts && return
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.05
  done
  echo "fuse_ceiling.sh: $1 did not mount; see $work/daemon.log" >&2
  exit 1
}

stop() {
  umount "$mount_dir"
  wait "$daemon" || true
  daemon=
}

summarize() {
  python3 - "$results" "$@" <<'PY'
import glob, json, os, statistics, sys
results, kinds = sys.argv[1], sys.argv[2:]
procs = sorted({int(os.path.basename(f).split(".")[1]) for f in glob.glob(results + "/*.json")})
for p in procs:
    table = {}
    for kind in kinds:
        for name in glob.glob(f"{results}/{kind}.{p}.*.json"):
            for phase, value in json.load(open(name))["phases"].items():
                cell = table.setdefault(phase, {}).setdefault(kind, [])
                cell.append((value["rate"], value["unit"],
                             value["cpu_seconds"] + value["server_cpu_seconds"], value["seconds"]))
    print(f"\n{p} process{'es' if p > 1 else ''}: median (least-greatest), cores used")
    print(f"{'':16}" + "".join(f"{k:>36}" for k in kinds))
    for phase, row in table.items():
        line = f"{phase:16}"
        for kind in kinds:
            rates = sorted(c[0] for c in row[kind])
            cores = statistics.median(c[2] / c[3] for c in row[kind])
            text = f"{statistics.median(rates):,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f}) {cores:.1f}"
            line += f"{text:>36}"
        print(line + f"  {row[kinds[0]][0][1]}")
PY
}

build_passthrough
mount -t tmpfs tmpfs "$source_dir"
kinds=(passthrough_ll classic)
if [ -e $switch ]; then
  echo Y > $switch
  kinds+=(io_uring)
else
  echo "this kernel has no FUSE over io_uring: measured without" >&2
fi
for round in $(seq "$rounds"); do
  for kind in "${kinds[@]}"; do
    for p in $procs; do
      start "$kind"
      "$bin/fsbench" --dir "$mount_dir" --procs "$p" --label "$kind" --pid "$daemon" "${load[@]}" \
        > "$results/$kind.$p.$round.json"
      stop
    done
  done
done
echo "results of $rounds rounds in $results; name and attribute timeout $timeout_seconds s;" \
  "$(nproc) cores, Linux $(uname -r)"
summarize "${kinds[@]}"
