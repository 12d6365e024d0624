#!/usr/bin/env bash
# 2 MiB across each component boundary of a sparse file (100 MiB, 10 GiB, 100 GiB), a 3 GiB file, and
# offsets up to the largest file size: stored, refused, never wrapped.
. "$(dirname "$0")/../support/cluster.sh"
cluster_up
head -c 2M /dev/urandom >"$WORK/chunk"
offsets=($((100 << 20)) $((10 << 30)) $((100 << 30)))
for offset in "${offsets[@]}"; do
  dd if="$WORK/chunk" of="$MNT/sparse" bs=1M oflag=seek_bytes seek=$((offset - (1 << 20))) \
    conv=notrunc status=none
done
python3 - "$MNT/big" <<'PY'
import sys
with open(sys.argv[1], "wb") as f:
    block = bytes(range(256)) * 4096
    for i in range(3 * 1024):
        f.write(i.to_bytes(8, "little") + block[8:])
PY
verify() {
  [ "$(stat -c %s "$MNT/sparse")" = $(((100 << 30) + (1 << 20))) ] || die "size of the sparse file"
  [ "$(stat -c %s "$MNT/big")" = $((3 << 30)) ] || die "size of the 3 GiB file"
  for offset in "${offsets[@]}"; do
    dd if="$MNT/sparse" bs=1M iflag=skip_bytes skip=$((offset - (1 << 20))) count=2 status=none |
      cmp - "$WORK/chunk" || die "data across $offset"
    dd if="$MNT/sparse" bs=64k iflag=skip_bytes skip=$((offset - (1 << 20) - 65536)) count=1 \
      status=none | cmp -n 65536 - /dev/zero || die "hole before $offset"
  done
  python3 - "$MNT/big" <<'PY'
import sys
block = bytes(range(256)) * 4096
with open(sys.argv[1], "rb") as f:
    for i in range(3 * 1024):
        if f.read(1 << 20) != i.to_bytes(8, "little") + block[8:]:
            sys.exit(f"block {i} differs")
PY
}
verify
cold
verify
restart
verify
python3 - "$MNT/edge" <<'PY'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
biggest = (1 << 63) - 1
for offset in ((1 << 62), biggest - 8192, biggest - 2, biggest - 1):
    try:
        os.pwrite(fd, b"x", offset)
        assert os.fstat(fd).st_size == offset + 1, offset
        assert os.pread(fd, 1, offset) == b"x"
        assert os.pread(fd, 4, 0) == b"\0\0\0\0"
    except OSError as error:
        assert error.errno in (errno.EFBIG, errno.EINVAL, errno.ENOSPC), error
try:
    os.pwrite(fd, b"xy", biggest - 1)
    assert os.fstat(fd).st_size <= biggest
except OSError as error:
    assert error.errno in (errno.EFBIG, errno.EINVAL, errno.ENOSPC), error
os.ftruncate(fd, 5)
assert os.fstat(fd).st_size == 5
PY
say ok
