#include "client/convert.h"

#include <sys/stat.h>

namespace sheen::client {
namespace {

constexpr uint64_t kFirstCookie = 3;  // 1 and 2 are "." and ".."
constexpr size_t kNameBytesMax = 255;

bool KnownType(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return true;
    default:
      return false;
  }
}

}  // namespace

Fid FidFromWire(const v1::Fid& wire) { return Fid{wire.seq(), wire.oid(), wire.ver()}; }

void FidToWire(const Fid& fid, v1::Fid* wire) {
  wire->set_seq(fid.seq);
  wire->set_oid(fid.oid);
  if (fid.ver != 0) wire->set_ver(fid.ver);
}

Result<Attr> AttrFromWire(const v1::Attr& wire) {
  Attr attr;
  attr.fid = FidFromWire(wire.fid());
  if (!attr.fid.Valid()) {
    return Fail(Errc::kProtocol, "mds0: attributes with a bad FID " + attr.fid.ToString());
  }
  if (!KnownType(wire.mode())) {
    return Fail(Errc::kProtocol, "mds0: unknown file type of " + attr.fid.ToString());
  }
  attr.mode = wire.mode();
  attr.uid = wire.uid();
  attr.gid = wire.gid();
  attr.nlink = wire.nlink();
  attr.project_id = wire.project_id();
  attr.size = wire.size();
  attr.blocks = wire.blocks();
  attr.atime_ns = wire.atime_ns();
  attr.mtime_ns = wire.mtime_ns();
  attr.ctime_ns = wire.ctime_ns();
  attr.btime_ns = wire.btime_ns();
  attr.rdev = wire.rdev();
  attr.size_unsafe = wire.size_unsafe();
  attr.size_epoch = wire.size_epoch();
  attr.has_access_acl = wire.has_access_acl();
  attr.has_default_acl = wire.has_default_acl();
  attr.no_xattrs = wire.no_xattrs();
  attr.mtime_set = wire.mtime_set();
  return attr;
}

Result<LayoutPtr> LayoutFromWire(const std::string& encoded) {
  if (encoded.empty()) return LayoutPtr();
  SHEEN_TRY_ASSIGN(layout::Layout decoded, layout::Decode(encoded));
  return std::make_shared<const layout::Layout>(std::move(decoded));
}

bool NeedsGlimpse(const v1::Attr& wire) {
  return wire.size_unsafe() && S_ISREG(wire.mode()) && !wire.layout().empty();
}

void ObjectToWire(const layout::ObjectId& object, v1::ObjectName* wire) {
  FidToWire(object.fid, wire->mutable_fid());
  wire->set_birth(object.birth);
  wire->set_stripe(object.stripe);
}

void ObjectToWire(const layout::Component& component, uint32_t stripe, v1::ObjectName* wire) {
  ObjectToWire(layout::ObjectOf(component, stripe), wire);
  if (!component.source) return;
  v1::ObjectSource* source = wire->mutable_source();
  source->set_link(component.source->link);
  source->set_key(component.source->key);
  source->set_etag(component.source->etag);
  source->set_end(component.source->end);
  source->set_stripe_bytes(component.stripe_bytes);
  source->set_stripe_count(static_cast<uint32_t>(component.osts.size()));
}

ObjectState ObjectFromWire(const v1::ObjectAttr& wire) {
  ObjectState state;
  state.known = true;
  state.exists = wire.exists();
  if (!state.exists) return state;
  state.size = wire.size();
  state.blocks = wire.blocks();
  state.mtime_ns = wire.mtime_ns();
  state.ctime_ns = wire.ctime_ns();
  return state;
}

void FileLockToWire(const lock::FileLock& lock, v1::FileLock* wire) {
  wire->set_kind(static_cast<uint32_t>(lock.owner.kind));
  wire->set_type(static_cast<uint32_t>(lock.type));
  wire->set_owner(lock.owner.owner);
  wire->set_start(lock.extent.start);
  wire->set_end(lock.extent.end);
  wire->set_pid(lock.pid);
}

TargetSpace TargetFromWire(const v1::TargetSpace& wire) {
  TargetSpace target;
  target.name = wire.name();
  target.server = wire.server();
  target.is_mdt = wire.is_mdt();
  target.up = wire.up();
  target.limited = wire.limited();
  target.index = wire.index();
  target.bytes_total = wire.bytes_total();
  target.bytes_free = wire.bytes_free();
  target.bytes_available = wire.bytes_available();
  target.files_total = wire.files_total();
  target.files_free = wire.files_free();
  target.device = wire.device();
  target.state = wire.state();
  return target;
}

Result<DirEntry> EntryFromWire(const v1::Entry& wire, bool plus) {
  DirEntry entry;
  entry.name = wire.name();
  entry.fid = FidFromWire(wire.fid());
  entry.cookie = wire.cookie();
  entry.type = wire.type();
  const bool bad_name = entry.name.empty() || entry.name.size() > kNameBytesMax ||
                        entry.name.find('/') != std::string::npos;
  if (bad_name || !entry.fid.Valid() || entry.cookie < kFirstCookie ||
      entry.cookie > INT64_MAX) {
    return Fail(Errc::kProtocol, "mds0: bad directory entry " + entry.fid.ToString());
  }
  if (plus && wire.has_attr()) {
    SHEEN_TRY_ASSIGN(entry.attr, AttrFromWire(wire.attr()));
    entry.has_attr = true;
  }
  return entry;
}

}  // namespace sheen::client
