#include "oss/convert.h"

#include <fmt/core.h>

namespace sheen::oss {
namespace {

constexpr uint64_t kBlocksUnit = 512;  // of st_blocks

}  // namespace

Result<layout::ObjectId> ObjectIdOf(const v1::ObjectName& name) {
  const layout::ObjectId id{
      {name.fid().seq(), name.fid().oid(), name.fid().ver()}, name.birth(), name.stripe()};
  if (!id.fid.Valid() || id.birth == 0 || id.stripe >= layout::kStripeCountMax) {
    return Fail(Errc::kInvalid, fmt::format("object name {} is out of its limits", id.ToString()));
  }
  return id;
}

void SetObjectName(const layout::ObjectId& id, v1::ObjectName* out) {
  out->mutable_fid()->set_seq(id.fid.seq);
  out->mutable_fid()->set_oid(id.fid.oid);
  out->mutable_fid()->set_ver(id.fid.ver);
  out->set_birth(id.birth);
  out->set_stripe(id.stripe);
}

lock::Extent ExtentOf(uint64_t offset, uint64_t length) {
  const uint64_t end = offset + std::min<uint64_t>(length, UINT64_MAX - offset);
  return {offset, end > lock::kLastByteMax ? lock::kEof : end};
}

Result<std::vector<layout::ObjectId>> ObjectIdsOf(
    const google::protobuf::RepeatedPtrField<v1::ObjectName>& names) {
  if (names.size() > kObjectsPerRequestMax) {
    return Fail(Errc::kInvalid, fmt::format("{} objects in a request; at most {} may be",
                                            names.size(), kObjectsPerRequestMax));
  }
  std::vector<layout::ObjectId> ids;
  ids.reserve(static_cast<size_t>(names.size()));
  for (const v1::ObjectName& name : names) {
    SHEEN_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(name));
    ids.push_back(id);
  }
  return ids;
}

ost::Owner OwnerOf(const v1::ObjectOwner& owner) {
  return {owner.uid(), owner.gid(), owner.project_id(), owner.layout_generation()};
}

void SetAttr(const ost::ObjectAttr& attr, v1::ObjectAttr* out) {
  out->set_exists(attr.exists);
  out->set_size(attr.size);
  out->set_blocks((attr.allocated_bytes + kBlocksUnit - 1) / kBlocksUnit);
  out->set_mtime_ns(attr.mtime_ns);
  out->set_ctime_ns(attr.ctime_ns);
  out->set_version(attr.version);
}

Status CheckIoRange(uint64_t offset, uint64_t length) {
  if (length > kIoBytesMax) {
    return Fail(Errc::kInvalid,
                fmt::format("{} bytes in a request; at most {} may be", length, kIoBytesMax));
  }
  if (offset > layout::kFileBytesMax || length > layout::kFileBytesMax - offset) {
    return Fail(Errc::kFileTooBig,
                fmt::format("offset {} + length {} is beyond the largest object", offset, length));
  }
  return {};
}

}  // namespace sheen::oss
