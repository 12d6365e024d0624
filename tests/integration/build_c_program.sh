#!/usr/bin/env bash
# configure, make -j2 and make check of GNU hello from its Debian source package, on the mount.
. "$(dirname "$0")/../support/cluster.sh"
fetch_source() { # package -> files in $WORK/source
  local dir=$WORK/source file
  mkdir -p "$dir/lists/partial" "$dir/parts"
  : >"$dir/sources.list"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $file in
      *.list) sed -n 's/^deb \(\[.*\] \)\?/deb-src \1/p' "$file" >>"$dir/sources.list" ;;
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" >"$dir/parts/$(basename "$file")" ;;
    esac
  done
  local options=(-o "Dir::Etc::SourceList=$dir/sources.list" -o "Dir::Etc::SourceParts=$dir/parts"
    -o "Dir::State::Lists=$dir/lists" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update -qq >/dev/null 2>&1 || true # a third party's list may lack sources
  (cd "$dir" && apt-get "${options[@]}" source --download-only -qq "$1" >/dev/null)
}
# A mirror may be away for a moment.
fetched=''
for _ in 1 2 3; do
  fetch_source hello && fetched=1 && break
  sleep 10
done
[ -n "$fetched" ] || die "cannot fetch the source package hello"
cluster_up
tar -C "$MNT" -xzf "$WORK"/source/hello_*.orig.tar.gz
cd "$MNT"/hello-*/
./configure --quiet >"$WORK/configure.log" 2>&1 || { tail "$WORK/configure.log"; die configure; }
make -j2 >"$WORK/make.log" 2>&1 || { tail "$WORK/make.log"; die make; }
[ "$(./hello)" = "Hello, world!" ] || die "./hello says something else"
sum=$(sha256sum <hello)
cd /
cold
[ "$("$MNT"/hello-*/hello)" = "Hello, world!" ] || die "cold"
restart
[ "$(sha256sum <"$(echo "$MNT"/hello-*/hello)")" = "$sum" ] || die "the program changed"
make -C "$MNT"/hello-*/ -q all || make -C "$MNT"/hello-*/ all >"$WORK/again.log" || die "make again"
say ok
