// What the records of several files share. For src/mdt alone. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "fid/fid.h"
#include "sheen/result.h"

namespace sheen::mdt {

// 12 bytes: the version of a FID is always 0.
inline void PutFid(Encoder* out, const Fid& fid) {
  out->U64(fid.seq);
  out->U32(fid.oid);
}

inline Fid TakeFid(Decoder* in) {
  Fid fid;
  fid.seq = in->U64();
  fid.oid = in->U32();
  return fid;
}

// `known`: the newest there is. Errors: kBadVersion, kCorrupt (0).
inline Status CheckVersion(uint32_t found, uint32_t known, std::string_view what) {
  if (found == 0) return Fail(Errc::kCorrupt, std::string(what) + ": record version 0");
  if (found <= known) return {};
  return Fail(Errc::kBadVersion, std::string(what) + ": record version " + std::to_string(found) +
                                     " is newer than " + std::to_string(known) +
                                     "; a newer Sheen wrote it");
}

}  // namespace sheen::mdt
