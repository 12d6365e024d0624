// Between wire messages and the library's own types. What comes from the wire is validated here.
//
// Pure functions.
#pragma once

#include <string>

#include "client/attr_merge.h"
#include "client/types.h"
#include "layout/layout.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {

Fid FidFromWire(const v1::Fid& wire);
void FidToWire(const Fid& fid, v1::Fid* wire);

// Errors: kProtocol: no valid FID, no known file type.
Result<Attr> AttrFromWire(const v1::Attr& wire);
// nullptr: the message carries none. Errors: as layout::Decode.
Result<LayoutPtr> LayoutFromWire(const std::string& encoded);
// Must the OSTs be asked before the attributes may be used?
bool NeedsGlimpse(const v1::Attr& wire);

void ObjectToWire(const layout::ObjectId& object, v1::ObjectName* wire);
// With where its absent bytes are.
void ObjectToWire(const layout::Component& component, uint32_t stripe, v1::ObjectName* wire);
ObjectState ObjectFromWire(const v1::ObjectAttr& wire);
void FileLockToWire(const lock::FileLock& lock, v1::FileLock* wire);
TargetSpace TargetFromWire(const v1::TargetSpace& wire);
// Errors: kProtocol: an entry with a bad name, FID, cookie or attributes.
Result<DirEntry> EntryFromWire(const v1::Entry& wire, bool plus);

}  // namespace sheen::client
