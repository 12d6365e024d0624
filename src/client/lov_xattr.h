// The value of the xattrs lustre.lov and trusted.lov: a layout in Lustre's struct lov_user_md, so
// that tools which know it (tar --xattrs, rsync -X, MPI-IO hints) work. All little-endian.
//
//   plain, v1 (magic 0x0BD10BD0), 32 bytes + 24 a stripe
//        0  4 magic     4  4 pattern (1 = RAID0)   8  8 file oid   16  8 file seq
//       24  4 stripe bytes   28  2 stripe count (0xffff: all)
//       30  2 first OST of a template (0xffff: any), else the layout generation
//       then per stripe: 8 object oid, 8 object seq, 4 generation (0), 4 OST index
//   v3 (0x0BD30BD0): char pool[16] at 32, the stripes from 48. With magic 0x0BD50BD0 the stripes
//       are the OSTs that a template asks for.
//   composite (0x0BD60BD0), 32 bytes + 48 an entry + the entries' v1 or v3 blobs
//        0 4 magic   4 4 size of all   8 4 generation   12 2 flags   14 2 entry count   16 16 0
//       entry: 0 4 id   4 4 flags (0x10: instantiated; 2, 4: prefrd, prefwr)   8 8 start
//              16 8 end (all ones: EOF)
//              24 4 blob offset   28 4 blob size   32 4 generation   36 12 0
//
// Source: reference Lustre's lustre_user.h as its documentation describes it. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "fid/fid.h"
#include "layout/layout.h"
#include "sheen/result.h"

namespace sheen::client {

std::string EncodeLov(const layout::Layout& layout, const Fid& fid);
// As a template: what was instantiated is left out, and so is a saved first OST of 0 (a value
// that was read from a file has it, and must not pin the copy to OST 0).
// Errors: kInvalid with the field that is wrong.
Result<layout::Layout> DecodeLov(std::string_view value);

}  // namespace sheen::client
