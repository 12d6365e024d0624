# A Ceph radosgw of the test's own: one monitor, one OSD in memory, the gateway, on loopback, in a
# folder that is gone afterwards. Sourced; then
#
#   radosgw_up         sets RGW_URL, RGW_ACCESS, RGW_SECRET; returns when it serves (its disk has
#                      RGW_BYTES, 2 GiB unless that is set)
#   radosgw_down       ends all of it; also from a trap
#
# Daemons are ended by their ids; nothing else on the machine is touched.

RGW_DIR=
RGW_PIDS=()
RGW_ACCESS=rgw-access-key
RGW_SECRET=rgw/secret+key

rgw_free_port() {
  /usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

rgw_ceph() { # command and arguments
  local command=$1
  shift
  timeout 240 "$command" --conf "$RGW_DIR/ceph.conf" "$@"
}

rgw_daemon() { # name, command and arguments
  local name=$1
  shift
  "$@" --conf "$RGW_DIR/ceph.conf" -f >"$RGW_DIR/$name.out" 2>&1 </dev/null &
  RGW_PIDS+=($!)
}

rgw_configure() { # port of the monitor, port of the gateway
  cat >"$RGW_DIR/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = v2:127.0.0.1:$1/0
public_addr = 127.0.0.1
ms_bind_msgr1 = false
mon_allow_pool_size_one = true
mon_pg_warn_min_per_osd = 0
mon_max_pg_per_osd = 1000
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = ${RGW_BYTES:-2147483648}
run_dir = $RGW_DIR
admin_socket = $RGW_DIR/\$name.asok
log_file = $RGW_DIR/\$name.log
keyring = $RGW_DIR/keyring
mon_data = $RGW_DIR/mon
osd_data = $RGW_DIR/osd
rgw_data = $RGW_DIR/rgw
rgw_frontends = beast endpoint=127.0.0.1:$2
rgw_thread_pool_size = 32
rgw_enable_usage_log = false
rgw_dns_name = rgw.test
CONF
}

radosgw_up() {
  RGW_DIR=$(mktemp -d "${TMPDIR:-/tmp}/sheen-rgw.XXXXXX")
  mkdir "$RGW_DIR/mon" "$RGW_DIR/osd" "$RGW_DIR/rgw"
  local mon_port gateway_port fsid
  mon_port=$(rgw_free_port)
  gateway_port=$(rgw_free_port)
  rgw_configure "$mon_port" "$gateway_port"
  # One key is everybody's: this is a cluster of one user.
  local key
  key=$(ceph-authtool --gen-print-key) || return 1
  printf '[mon.]\nkey = %s\ncaps mon = "allow *"\n[client.admin]\nkey = %s\n' "$key" "$key" \
    >"$RGW_DIR/keyring"
  printf 'caps mon = "allow *"\ncaps osd = "allow *"\n[osd.0]\nkey = %s\n' "$key" \
    >>"$RGW_DIR/keyring"
  printf 'caps mon = "allow profile osd"\ncaps osd = "allow *"\n' >>"$RGW_DIR/keyring"
  fsid=$(sed -n 's/^fsid = //p' "$RGW_DIR/ceph.conf")
  monmaptool --create --fsid "$fsid" --addv a "v2:127.0.0.1:$mon_port" "$RGW_DIR/monmap" >/dev/null &&
    rgw_ceph ceph-mon --mkfs -i a --monmap "$RGW_DIR/monmap" --keyring "$RGW_DIR/keyring" \
      >/dev/null 2>&1 || return 1
  rgw_daemon mon ceph-mon -i a
  local uuid
  uuid=$(cat /proc/sys/kernel/random/uuid)
  rgw_ceph ceph osd new "$uuid" 0 >/dev/null 2>&1 &&
    rgw_ceph ceph-osd -i 0 --mkfs --osd-uuid "$uuid" >/dev/null 2>&1 || return 1
  rgw_daemon osd ceph-osd -i 0
  # Creates its pools when it starts: waits until the OSD serves.
  rgw_ceph radosgw-admin user create --uid=tester --display-name=tester \
    --access-key="$RGW_ACCESS" --secret="$RGW_SECRET" >"$RGW_DIR/user.out" 2>&1 || return 1
  rgw_daemon rgw radosgw -n client.admin
  RGW_URL=http://127.0.0.1:$gateway_port
  local i
  for ((i = 0; i < 1200; ++i)); do
    curl -s -o "$RGW_DIR/answer" --noproxy '*' "$RGW_URL/" && return 0
    sleep 0.2
  done
  return 1
}

radosgw_down() {
  local pid
  [ ${#RGW_PIDS[@]} -gt 0 ] && kill -9 "${RGW_PIDS[@]}" 2>/dev/null
  for pid in "${RGW_PIDS[@]}"; do wait "$pid" 2>/dev/null; done
  RGW_PIDS=()
  [ -n "$RGW_DIR" ] && rm -rf "$RGW_DIR"
  RGW_DIR=
}
