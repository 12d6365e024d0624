// .lustre/fid/FID: any object by its FID. `.lustre` is in no listing; root alone may walk it.
//
// The two directories exist in the client only. Their FIDs are Lustre's. Pure functions.
#pragma once

#include <optional>
#include <string>

#include "client/types.h"

namespace sheen::client {

inline constexpr Fid kDotLustre{kDotLustreSequence, 1, 0};
inline constexpr Fid kDotLustreFid{kDotLustreSequence, 2, 0};

inline bool IsDotLustre(const Fid& fid) { return fid == kDotLustre || fid == kDotLustreFid; }
// REQUIRES: IsDotLustre.
Attr DotLustreAttr(const Fid& fid);

// What `name` in `parent` leads to; nullopt: an ordinary name. In .lustre and below it errors are
// kNoEntry; a FID is valid, but need not exist.
std::optional<Result<Fid>> DotLustreChild(const Fid& parent, const std::string& name);
// Names there are not made, removed or renamed. Errors: kPerm.
Status CheckNotDotLustre(const Fid& parent, const std::string& name);

}  // namespace sheen::client
