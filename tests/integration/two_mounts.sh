#!/usr/bin/env bash
# Two mounts of one filesystem: what one has done, the other sees at once: names, attributes, sizes,
# and data at open and after any visible change.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
mkdir -p "$WORK/second"
sheen dev mount "$WORK/second" --name "$NAME" >/dev/null
test_cleanup() { sheen dev umount "$WORK/second" --name "$NAME" >/dev/null 2>&1; }
python3 "$ROOT/tests/integration/pairs.py" "$MNT" "$WORK/second" || die "pairs of operations"
# That a file has no xattrs is known with its attributes; who sets one is seen at once.
python3 - "$MNT" "$WORK/second" <<'PY'
import errno, os, random, sys
mounts = sys.argv[1:3]
rng = random.Random(11)
objects = ["plain", "directory"]
open(f"{mounts[0]}/plain", "w").close()
os.mkdir(f"{mounts[0]}/directory")
known = {o: {} for o in objects}
for step in range(800):
    m, o = rng.choice(mounts), rng.choice(objects)
    path, have = f"{m}/{o}", known[o]
    name = rng.choice(["user.a", "trusted.b", "security.c"])
    kind = rng.randrange(10)
    if kind == 0:
        have[name] = b"%d" % step
        os.setxattr(path, name, have[name])
    elif kind == 1 and have:
        name = rng.choice(sorted(have))
        os.removexattr(path, name)
        del have[name]
    elif kind < 6:
        try:
            assert os.getxattr(path, name) == have.get(name), (step, path, name)
        except OSError as error:
            assert error.errno == errno.ENODATA and name not in have, (step, path, name, error)
    else:
        assert set(os.listxattr(path)) == set(have), (step, path)
for o in objects:
    (os.rmdir if o == "directory" else os.unlink)(f"{mounts[0]}/{o}")
PY
asked() { lctl get_param -n 'mdt.*.md_stats' | awk '$1 ~ /xattr/ { n += $2 } END { print n + 0 }'; }
# A mount that had no time to prove that it lives asks once more.
for round in $(seq 10); do
  before=$(asked)
  for i in $(seq 50); do echo "$i" >"$MNT/new$round.$i"; done
  getfattr -d -m - "$MNT/new$round".* >"$WORK/out"
  [ ! -s "$WORK/out" ] || die "xattrs of new files: $(cat "$WORK/out")"
  more=$(($(asked) - before))
  [ "$more" = 0 ] && break
done
[ "$more" = 0 ] || die "the MDS was asked $more times for xattrs that new files have not"
rm "$MNT"/new*
sheen dev umount "$WORK/second" --name "$NAME" >/dev/null
say ok
