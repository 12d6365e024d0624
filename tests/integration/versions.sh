#!/usr/bin/env bash
# A client and a server that speak different versions of the wire protocol: each says so, the mount
# ends with an error instead of waiting, and the server goes on serving others.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
echo kept >"$MNT/kept"

# Stands between a client and the MDS and writes another version into the headers of one side.
cat >"$WORK/proxy.py" <<'PY'
import socket, struct, sys, threading
side, server_port = sys.argv[1], int(sys.argv[2])
table = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    table.append(byte)
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF
def exactly(source, size):
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
def pump(source, sink, change):
    try:
        while True:
            header = bytearray(exactly(source, 80))
            body, bulk = struct.unpack_from("<II", header, 24)
            if change:
                struct.pack_into("<H", header, 4, 2)
                struct.pack_into("<I", header, 76, crc32c(header[:76]))
            sink.sendall(bytes(header) + exactly(source, body + bulk))
    except (EOFError, OSError):
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", server_port))
    threading.Thread(target=pump, args=(client, server, side == "client"), daemon=True).start()
    threading.Thread(target=pump, args=(server, client, side == "server"), daemon=True).start()
PY
proxy=''
test_cleanup() { [ -z "$proxy" ] || kill "$proxy" 2>/dev/null; }
mds_port=$(sheen dev status --name "$NAME" --json |
  python3 -c 'import json,sys; print(next(d["ports"][0] if isinstance(d["ports"], list) else d["ports"]["data"] for d in json.load(sys.stdin)["daemons"] if d["name"] == "mds0"))')

other_version() { # side that speaks another version
  python3 "$WORK/proxy.py" "$1" "$mds_port" >"$WORK/port" &
  proxy=$!
  until [ -s "$WORK/port" ]; do sleep 0.05; done
  mkdir -p "$WORK/other"
  local status=0
  timeout -k 5 30 sheen-client 127.0.0.1:/sheen "$WORK/other" -o "fg,port=$(cat "$WORK/port")" \
    --config=/dev/null >"$WORK/out" 2>&1 || status=$?
  kill "$proxy"
  wait "$proxy" 2>/dev/null || true
  proxy=''
  rm "$WORK/port"
  cat "$WORK/out"
  [ "$status" -ne 0 ] && [ "$status" -ne 124 ] || die "the mount ended with status $status"
  mountpoint -q "$WORK/other" && die "it is mounted"
  return 0
}

say "a server of another version"
other_version server
grep -q 'version' "$WORK/out" || die "the client does not name the version"
say "a client of another version"
other_version client
grep -q 'version' "$WORK/out" || die "the client does not name the version"
named() { grep -h 'version 2' "$WORK"/cluster/log/mds0*; }
for _ in $(seq 100); do named >/dev/null && break; sleep 0.1; done
named || die "the server's log does not name the version"

say "others are served"
[ "$(cat "$MNT/kept")" = kept ] || die "reading"
echo more >"$MNT/more"
say ok
