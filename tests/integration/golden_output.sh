#!/usr/bin/env bash
# What lfs and lctl print is Lustre's, field for field: tests/golden/lfs/transcript.txt, run again.
# Lines that begin with "$ " are commands, "?" their status when it is not 0. What varies from run to
# run has a word in its place: FID, INSTANCE, UUID, N (numbers of df), TIME.
#   golden_output.sh --print     prints what it is now
. "$(dirname "$0")/../support/cluster.sh"
GOLDEN=$ROOT/tests/golden/lfs/transcript.txt

cluster_up --oss 2 --osts 4
cd "$MNT"
export LC_ALL=C

# Of one command's output.
same_words() {
  sed -E \
    -e "s#$MNT#/mnt/sheen#g" \
    -e 's/\[0x[0-9a-f]+:0x[0-9a-f]+:0x0\]/FID/g' \
    -e 's/0x[0-9a-f]{9}:0x[0-9a-f]+:0x0/FID/g' \
    -e 's/(^|[^0-9])0x2[0-9a-f]{8}/\1SEQ/g' \
    -e 's/^(\t +[0-9]+\t) +[0-9]+\t +0x[0-9a-f]+\t +SEQ/\1 OID\t OID\t SEQ/' \
    -e 's/^(lmm_object_id: +)0x[0-9a-f]+/\1OID/' \
    -e 's/-ffff[0-9a-f]{12}/-INSTANCE/g' -e 's/ffff[0-9a-f]{12}/INSTANCE/g' \
    -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g' \
    -e 's/^(snapshot_time|start_time|elapsed_time) +[0-9.]+/\1 TIME/' \
    -e 's/ samples \[([a-z]+)\] .*/ samples [\1] .../' \
    -e '/^(UUID|filesystem|sheen-).*[0-9]%/ s/ +[0-9.]+[KMGTPE]?( |$)/ N\1/g; /^(filesystem_summary|sheen-)/ s/ +[0-9.]+[KMGTPE]?( |$)/ N\1/g' \
    -e '/^(filesystem_summary|sheen-)/ s/ +[0-9.]+[KMGTPE]?( |$)/ N\1/g; s/ +[0-9]+%/ N%/'
}

run_transcript() {
  local line status
  while IFS= read -r line; do
    case $line in
      '$ '*)
        printf '%s\n' "$line"
        status=0
        (eval "${line#\$ }") >"$WORK/out" 2>&1 </dev/null || status=$?
        same_words <"$WORK/out"
        [ "$status" = 0 ] || echo "? $status" ;;
      '#'*) printf '%s\n' "$line" ;;
    esac
  done <"$GOLDEN"
}

run_transcript >"$WORK/now"
if [ "${1:-}" = --print ]; then
  cat "$WORK/now"
else
  diff "$GOLDEN" "$WORK/now" || die "what the commands print has changed (< golden, > now)"
  say "$(grep -c '^\$' "$GOLDEN") commands print what they should"
fi
