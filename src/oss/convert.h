// Between the wire's messages and the engine's types. What comes from the wire is validated here.
//
// Pure functions.
#pragma once

#include <vector>

#include "lock/extent.h"
#include "ost/target.h"
#include "rpc/server.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {

inline constexpr uint32_t kIoBytesMax = 4 << 20;
inline constexpr int kObjectsPerRequestMax = 65536;

// Errors: kInvalid (a FID out of its limits, no birth, a stripe beyond the largest layout).
Result<layout::ObjectId> ObjectIdOf(const v1::ObjectName& name);
void SetObjectName(const layout::ObjectId& id, v1::ObjectName* out);
// The bytes [offset, offset + length) for lock::ExtentLocks. REQUIRES: length > 0.
lock::Extent ExtentOf(uint64_t offset, uint64_t length);
// Errors: kInvalid, also when there are more than kObjectsPerRequestMax.
Result<std::vector<layout::ObjectId>> ObjectIdsOf(
    const google::protobuf::RepeatedPtrField<v1::ObjectName>& names);
ost::Owner OwnerOf(const v1::ObjectOwner& owner);
void SetAttr(const ost::ObjectAttr& attr, v1::ObjectAttr* out);
// Errors: kInvalid (more than kIoBytesMax), kFileTooBig (beyond the largest object).
Status CheckIoRange(uint64_t offset, uint64_t length);
// 0: of none.
inline uint64_t SessionOf(const rpc::Request& request) {
  return request.session ? request.session->id() : 0;
}

}  // namespace sheen::oss
