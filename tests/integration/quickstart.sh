#!/usr/bin/env bash
# The README's first command: from a built tree to a working mount in under 10 s; the second run says
# that it runs already and leaves it alone.
. "$(dirname "$0")/../support/cluster.sh"
name="q$$"
test_cleanup() { sheen dev destroy --name "$name" >/dev/null 2>&1; }
quickstart() {
  "$ROOT/deploy/quickstart" --name "$name" --dir "$WORK/quick" --mount "$WORK/m" --size 256M
}
quickstart >"$WORK/warm" 2>&1 || { cat "$WORK/warm"; die "quickstart"; }
sheen dev destroy --name "$name" >/dev/null
# Of three times the best: the machine may be busy with something else.
for turn in 1 2 3; do
  start=$(date +%s%N)
  quickstart >"$WORK/first" 2>&1 || { cat "$WORK/first"; die "quickstart"; }
  took=$((($(date +%s%N) - start) / 1000000))
  say "from a built tree to a working mount: $took ms"
  [ "$took" -ge 10000 ] || break
  [ "$turn" -lt 3 ] || die "it took $took ms"
  sheen dev destroy --name "$name" >/dev/null
done
mountpoint -q "$WORK/m" || die "not mounted"
grep -q 'filesystem_summary' "$WORK/first" || die "no lfs df -h in the output"
grep -Eq 'lmm_stripe_count|lcm_entry_count' "$WORK/first" || die "no lfs getstripe in the output"
grep -q 'sheen dev down\|sheen dev destroy' "$WORK/first" || die "does not say how to stop it"
sheen dev destroy --name "$name" >/dev/null
"$ROOT/deploy/quickstart" --name "$name" --dir "$WORK/quick" --mount "$WORK/m" --osts 1 >"$WORK/one" 2>&1 ||
  { cat "$WORK/one"; die "quickstart --osts 1"; }
echo mine >"$WORK/m/mine"
quickstart >"$WORK/second" 2>&1 || { cat "$WORK/second"; die "second quickstart"; }
grep -qi 'already' "$WORK/second" || { cat "$WORK/second"; die "does not say that it runs already"; }
[ "$(cat "$WORK/m/mine")" = mine ] || die "the running filesystem was not left alone"
say ok
