// An object of a listing as what it stands for in the filesystem.
//
// Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "s3/object.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::agent {

// Of a key below `prefix`, with what the listing says. A key that ends in "/" is a directory; the
// prefix itself gives an entry without a path. Errors: kInvalid (it cannot be a path, and why).
Result<v1::ImportEntry> EntryOf(std::string_view prefix, const s3::ListEntry& listed);
// Of a key that became a name before: nothing but its key and type.
v1::ImportEntry EntryOfKey(const std::string& key);
// With what HEAD says: type, owner, mode and times. "/" at the key's end decides for a directory.
void AddAttributes(const s3::ObjectInfo& info, v1::ImportEntry* entry);

}  // namespace sheen::agent
