#include "mds/posix_acl.h"

#include <algorithm>

#include "base/bytes.h"
#include "mds/permission.h"

namespace sheen::mds {
namespace {

constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderBytes = 4;
constexpr size_t kEntryBytes = 8;
constexpr uint32_t kAllPermissions = 07;

AclEntry* Find(PosixAcl* acl, uint16_t tag) {
  const auto found = std::ranges::find(*acl, tag, &AclEntry::tag);
  return found == acl->end() ? nullptr : &*found;
}

const AclEntry* Find(const PosixAcl& acl, uint16_t tag) {
  const auto found = std::ranges::find(acl, tag, &AclEntry::tag);
  return found == acl.end() ? nullptr : &*found;
}

Status Malformed(const char* why) { return Fail(Errc::kInvalid, std::string("ACL: ") + why); }

bool Named(const AclEntry& entry) { return entry.tag == kAclUser || entry.tag == kAclGroup; }

// posix_acl_valid(): in order, each of the three classes once, a mask wherever someone is named.
Status CheckValid(const PosixAcl& acl) {
  uint32_t last = 0;
  for (const AclEntry& entry : acl) {
    const uint32_t tag = entry.tag;
    if (tag == 0 || tag > kAclOther || (tag & (tag - 1)) != 0) return Malformed("unknown tag");
    if ((entry.permissions & ~kAllPermissions) != 0) return Malformed("unknown permissions");
    if (tag < last) return Malformed("entries out of order");
    if (tag == last && !Named(entry)) return Malformed("an entry twice");
    if (Named(entry) && entry.id == UINT32_MAX) return Malformed("no such user or group");
    last = tag;
  }
  for (const AclTag tag : {kAclUserObj, kAclGroupObj, kAclOther}) {
    if (Find(acl, tag) == nullptr) return Malformed("owner, owning group or others are missing");
  }
  if (std::ranges::any_of(acl, Named) && Find(acl, kAclMask) == nullptr) {
    return Malformed("no mask");
  }
  return {};
}

bool InGroupOf(const AclEntry& entry, uint32_t gid, const rpc::Credential& who) {
  if (entry.tag == kAclGroupObj) return InGroup(who, gid);
  return entry.tag == kAclGroup && InGroup(who, entry.id);
}

}  // namespace

Result<PosixAcl> DecodeAcl(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return Fail(Errc::kInvalid, "ACL: shorter than its version");
  const uint32_t version = LoadLittle<uint32_t>(bytes.data());
  if (version != kVersion) {
    return Fail(Errc::kNotSupported, "ACL of version " + std::to_string(version));
  }
  bytes.remove_prefix(kHeaderBytes);
  if (bytes.size() % kEntryBytes != 0) return Fail(Errc::kInvalid, "ACL: half an entry");
  PosixAcl acl;
  for (; !bytes.empty(); bytes.remove_prefix(kEntryBytes)) {
    AclEntry entry;
    entry.tag = LoadLittle<uint16_t>(bytes.data());
    entry.permissions = LoadLittle<uint16_t>(bytes.data() + 2);
    if (Named(entry)) entry.id = LoadLittle<uint32_t>(bytes.data() + 4);
    acl.push_back(entry);
  }
  if (!acl.empty()) SHEEN_TRY(CheckValid(acl));
  return acl;
}

std::string EncodeAcl(const PosixAcl& acl) {
  Encoder out;
  out.U32(kVersion);
  for (const AclEntry& entry : acl) {
    out.U16(entry.tag);
    out.U16(entry.permissions);
    out.U32(entry.id);
  }
  return out.Take();
}

bool AclGrants(const PosixAcl& acl, uint32_t uid, uint32_t gid, const rpc::Credential& who,
               uint32_t access) {
  const AclEntry* mask = Find(acl, kAclMask);
  const uint32_t most = mask == nullptr ? kAllPermissions : mask->permissions;
  bool in_a_group = false;
  for (const AclEntry& entry : acl) {
    const bool enough = (access & ~uint32_t{entry.permissions}) == 0;
    if (entry.tag == kAclUserObj && who.uid == uid) return enough;
    if (entry.tag == kAclUser && who.uid == entry.id) return enough && (access & ~most) == 0;
    if (InGroupOf(entry, gid, who)) {
      if (enough) return (access & ~most) == 0;
      in_a_group = true;
    }
    if (entry.tag == kAclOther) return !in_a_group && enough;
  }
  return false;
}

uint32_t ModeOfAcl(const PosixAcl& acl) {
  const auto of = [&](uint16_t tag) -> uint32_t {
    const AclEntry* entry = Find(acl, tag);
    return entry == nullptr ? 0 : entry->permissions;
  };
  const uint32_t group = of(Find(acl, kAclMask) != nullptr ? kAclMask : kAclGroupObj);
  return of(kAclUserObj) << 6 | group << 3 | of(kAclOther);
}

bool IsOnlyMode(const PosixAcl& acl) {
  return std::ranges::none_of(acl, Named) && Find(acl, kAclMask) == nullptr;
}

void ChangeAclMode(uint32_t mode, PosixAcl* acl) {
  AclEntry* group = Find(acl, kAclMask);
  if (group == nullptr) group = Find(acl, kAclGroupObj);
  if (group != nullptr) group->permissions = static_cast<uint16_t>(mode >> 3 & 07);
  if (AclEntry* owner = Find(acl, kAclUserObj)) {
    owner->permissions = static_cast<uint16_t>(mode >> 6 & 07);
  }
  if (AclEntry* others = Find(acl, kAclOther)) {
    others->permissions = static_cast<uint16_t>(mode & 07);
  }
}

uint32_t RestrictAcl(uint32_t mode, PosixAcl* acl) {
  const uint32_t both = ModeOfAcl(*acl) & mode & 0777;
  ChangeAclMode(both, acl);
  return (mode & ~uint32_t{0777}) | both;
}

}  // namespace sheen::mds
