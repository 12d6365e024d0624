#!/usr/bin/env bash
# What is done is counted for the job and the user that it was done for, on MDS and OSS, in lctl,
# sheen top and the changelog.
. "$(dirname "$0")/../support/cluster.sh"

cluster_up --oss 1 --osts 1 --client-opt metrics=0
cd "$WORK"
MDT=sheen-MDT0000
chmod 1777 "$MNT"; chmod 755 "$WORK"

[ "$(lctl get_param jobid_var jobid_name | paste -sd,)" = "jobid_var=disable,jobid_name=%e.%u" ] ||
  die "$(lctl get_param jobid_var jobid_name)"
echo x >"$MNT/before"
[ -z "$(lctl get_param -n '*.*.job_stats')" ] || die "counted for a job that nobody named"
lctl set_param jobid_var='A B' 2>/dev/null && die "no variable has this name"
lctl set_param -P jobid_var=SLURM_JOB_ID >/dev/null
for _ in $(seq 300); do
  [ "$(lctl get_param -n jobid_var)" = SLURM_JOB_ID ] && break
  sleep 0.1
done
lctl changelog_register >/dev/null

# field JOB OP FIELD PATTERN: of the statistics that match, summed.
field() {
  lctl get_param -n "$4" | awk -v job="$1" -v op="$2:" -v field="$3:" '
    $1 == "-" { on = $3 == job }
    on && $1 == op { for (i = 2; i < NF; i++) if ($i == field) n += $(i + 1) }
    END { print n + 0 }'
}

SLURM_JOB_ID=4711 sh -c "mkdir $MNT/d; head -c 3000000 /dev/urandom >$MNT/d/f; sync $MNT/d/f"
SLURM_JOB_ID=4712 setpriv --reuid 1000 --regid 1000 --clear-groups sh -c "mkdir $MNT/e; echo x >$MNT/e/f; sync $MNT/e/f"
cold
SLURM_JOB_ID=4712 cat "$MNT/d/f" >/dev/null
[ "$(field 4711 mkdir samples 'mdt.*.job_stats')" = 1 ] || die "$(lctl get_param 'mdt.*.job_stats')"
[ "$(field 4712 mkdir samples 'mdt.*.job_stats')" = 1 ] || die "$(lctl get_param 'mdt.*.job_stats')"
[ "$(field 4711 write_bytes sum 'obdfilter.*.job_stats')" = 3000000 ] || die "$(lctl get_param 'obdfilter.*.job_stats')"
[ "$(field 4712 write_bytes sum 'obdfilter.*.job_stats')" = 2 ] || die "$(lctl get_param 'obdfilter.*.job_stats')"
[ "$(field 4712 read_bytes sum 'obdfilter.*.job_stats')" -ge 3000000 ] || die "$(lctl get_param 'obdfilter.*.job_stats')"
[ "$(field 1000 mkdir samples 'mdt.*.uid_stats')" = 1 ] || die "$(lctl get_param 'mdt.*.uid_stats')"
[ "$(field 4712 close samples 'mdt.*.job_stats')" -ge 1 ] || die "$(lctl get_param 'mdt.*.job_stats')"
[ "$(field 1000 close samples 'mdt.*.uid_stats')" -ge 1 ] || die "$(lctl get_param 'mdt.*.uid_stats')"
[ "$(field 1000 write_bytes sum 'obdfilter.*.uid_stats')" = 2 ] || die "$(lctl get_param 'obdfilter.*.uid_stats')"
[ "$(field 0 write_bytes sum 'obdfilter.*.uid_stats')" -ge 3000000 ] || die "$(lctl get_param 'obdfilter.*.uid_stats')"
lctl get_param -n 'mdt.*.job_stats' | python3 -c '
import sys
try:
    import yaml
except ImportError:
    sys.exit(0)
jobs = yaml.safe_load(sys.stdin)["job_stats"]
assert [j["job_id"] for j in jobs][:2] == [4711, 4712], jobs
assert jobs[0]["mkdir"]["unit"] == "usecs", jobs'
lfs changelog $MNT | grep -q ' j=4711 .* u=0:0 .* d$' || die "$(lfs changelog $MNT)"
lfs changelog $MNT | grep -q ' j=4712 .* u=1000:1000 .* e$' || die "$(lfs changelog $MNT)"
say "counted for jobs and users"

# After both servers were restarted they know still for whom a client asks.
sheen dev kill mds0 --name "$NAME" >/dev/null; sheen dev start mds0 --name "$NAME" >/dev/null
sheen dev kill oss0 --name "$NAME" >/dev/null; sheen dev start oss0 --name "$NAME" >/dev/null
SLURM_JOB_ID=4712 sh -c "mkdir $MNT/again; head -c 5000 /dev/zero >$MNT/again/f; sync $MNT/again/f"
[ "$(field 4712 mkdir samples 'mdt.*.job_stats')" = 1 ] || die "$(lctl get_param 'mdt.*.job_stats')"
[ "$(field 4712 write_bytes sum 'obdfilter.*.job_stats')" = 5000 ] || die "$(lctl get_param 'obdfilter.*.job_stats')"

SLURM_JOB_ID=4713 sh -c "while :; do i=\$((i + 1)); : >$MNT/d/\$((i % 3000)); done" &
sheen top --rounds 2 --interval 0.5 --json >"$WORK/top"
sheen top --rounds 1 --interval 0.5 >"$WORK/top.txt"
kill %1 2>/dev/null || true
wait
python3 - "$WORK/top" <<'PY'
import json, sys
last = [json.loads(line) for line in open(sys.argv[1])][-1]
jobs = {j["job_id"]: j for j in last["jobs"]}
assert jobs["4713"]["requests"] > 0, last
users = {u["uid"]: u for u in last["users"]}
assert users["0"]["requests"] > 0, last
PY
grep -A1 '^JOB' "$WORK/top.txt" | grep -q '^4713 ' || die "$(cat "$WORK/top.txt")"
grep -A1 '^UID' "$WORK/top.txt" | grep -q '^0 ' || die "$(cat "$WORK/top.txt")"

lctl set_param 'mdt.*.job_stats=4712' >/dev/null
[ "$(field 4712 mkdir samples 'mdt.*.job_stats')" = 0 ] || die "one job was not forgotten"
[ "$(field 4713 create samples 'mdt.*.job_stats')" -gt 0 ] || die "another was"
# A close of the job that was killed may still come, and is counted.
for _ in $(seq 20); do
  lctl set_param '*.*.job_stats=clear' >/dev/null
  [ -n "$(lctl get_param -n '*.*.job_stats')" ] || break
  sleep 0.2
done
[ -z "$(lctl get_param -n '*.*.job_stats')" ] || die "not all were forgotten"

# By program and user; and for nobody any more.
lctl set_param -P jobid_var=procname_uid >/dev/null
for _ in $(seq 300); do
  [ "$(lctl get_param -n jobid_var)" = procname_uid ] && break
  sleep 0.1
done
mkdir "$MNT/by_name"
[ "$(field mkdir.0 mkdir samples 'mdt.*.job_stats')" = 1 ] || die "$(lctl get_param 'mdt.*.job_stats')"
ls -l "$MNT/d" >/dev/null; ls -l "$MNT/d" >/dev/null
lctl get_param -n 'llite.*.cache_stats' | grep -q '^lookup_hits [0-9]' || die "cache_stats"
say "shown, and forgotten"
