#!/usr/bin/env bash
# cmake --install: everything is where a system looks for it, nothing is put into /etc; the mount helper
# finds the client, bash completes what the programs' help says, the units are sound.
. "$(dirname "$0")/../support/cluster.sh"
top=$WORK/root
DESTDIR=$top cmake --install "$BIN/.." --prefix /usr >"$WORK/out" 2>&1 || { cat "$WORK/out"; die "cmake --install"; }
for file in bin/{sheen,sheen-{mds,oss,agent,client,bench},lfs,lctl} sbin/mount.sheen \
  lib/systemd/system/{sheen-mds@.service,sheen-oss@.service,sheen-agent.service,sheen.target} \
  lib/{sysusers.d,tmpfiles.d,modprobe.d}/sheen.conf \
  share/man/man1/{lfs,sheen-bench}.1 share/man/man5/sheen-{mds,oss,agent,client}.toml.5 \
  lib/libsheen.a lib/pkgconfig/sheen.pc include/sheen/{client,sheen,result}.h share/man/man3/libsheen.3 \
  share/doc/sheen/examples/libsheen.{c,cc} \
  share/man/man8/{sheen,sheen-{mds,oss,agent,client},mount.sheen,lctl}.8 \
  share/bash-completion/completions/{sheen,lfs,lctl,sheen-{mds,oss,agent,client,bench}} \
  share/doc/sheen/examples/{mds,oss,agent,client}.toml; do
  [ -e "$top/usr/$file" ] || die "$file is not installed"
done
[ "$(ls "$top")" = usr ] || die "something is installed beside /usr: $(ls "$top")"
other=$(find "$top/usr/bin" "$top/usr/sbin" -type f | sed 's#.*/##' | grep -Ev '^(sheen(-.*)?|lfs|lctl|mount\.sheen)$' || true)
[ -z "$other" ] || die "installed for no user: $other"

say "one version"
version=$(sed -n 's/^project(sheen VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")
for program in sheen sheen-mds sheen-oss sheen-agent sheen-client sheen-bench lfs lctl; do
  [ "$("$top/usr/bin/$program" --version)" = "$program $version" ] ||
    die "$program --version: $("$top/usr/bin/$program" --version 2>&1), not $version"
done

say "the mount helper starts the client that was installed with it"
"$top/usr/sbin/mount.sheen" nonsense "$WORK" -o rw >"$WORK/out" 2>&1 && die "mount.sheen mounts nonsense"
grep -q "sheen-client: 'nonsense' names no Sheen filesystem" "$WORK/out" || die "mount.sheen: $(cat "$WORK/out")"

say "tmpfiles and sysusers are understood"
mkdir "$top/etc"
systemd-sysusers --root="$top" >"$WORK/out" 2>&1 || { cat "$WORK/out"; die "systemd-sysusers"; }
grep -q '^sheen:.*:/var/lib/sheen:' "$top/etc/passwd" || die "no user sheen"
systemd-tmpfiles --root="$top" --create sheen.conf >"$WORK/out" 2>&1 || { cat "$WORK/out"; die "systemd-tmpfiles"; }
[ "$(stat -c %u "$top/var/lib/sheen")" = "$(awk -F: '/^sheen:/{print $3}' "$top/etc/passwd")" ] ||
  die "/var/lib/sheen is not of user sheen"

say "completion"
complete_words() { # words of the command line, the last is being written
  PATH="$top/usr/bin:$PATH" bash -c '
    . "$1/usr/share/bash-completion/completions/sheen"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sheen; printf "%s\n" "${COMPREPLY[@]}"' _ "$top" "$@"
}
expect() { # wanted, words...
  local wanted=$1
  shift
  complete_words "$@" >"$WORK/words"
  [ "$(sort "$WORK/words" | tr '\n' ' ')" = "$wanted " ] || die "'$*' is completed to: $(tr '\n' ' ' <"$WORK/words")"
}
mkdir "$WORK/empty" && cd "$WORK/empty"
expect 'status support-bundle' sheen s
expect 'dev' sheen de
expect 'destroy down' sheen dev d
expect 'mdt' sheen format m
expect 'remove' sheen repo r
expect '--interval' sheen top --i
expect '--mgs' sheen format ost --m
expect '--client-opt' sheen dev up --cl
expect '--control-port' sheen-mds --cont
expect '--metrics' sheen-agent --me
expect 'debug' sheen-oss --log-level d
expect 'off on' sheen-oss --checksums o
expect 'ior' sheen-bench i
expect '--tasks' sheen-bench mdtest --t
expect 'setstripe' lfs setst
expect '--stripe-count --stripe-index --stripe-size' lfs getstripe --str
expect '--maxdepth' lfs find --max
expect 'get_param' lctl g
expect '--perm' lctl set_param --p
say ok
