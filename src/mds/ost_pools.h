// Pools: named sets of OSTs. A layout that names one has its OSTs chosen from it.
//
//   lctl pool_new sheen.flash; lctl pool_add sheen.flash OST[0-3]; lfs setstripe -p flash DIR
//
// All of them are one row of the store's config family (docs/formats/mdt.md), which ClusterMap
// writes. Here are the rules. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "layout/layout.h"
#include "sheen/result.h"

namespace sheen::mds {

inline constexpr size_t kPoolsMax = 1000;
// Of all pools together. At 3 bytes each they take a tenth of an answer to a client that mounts,
// which has the whole cluster map in it (rpc::kBodyBytesMax).
inline constexpr size_t kPoolMembersMax = 100'000;

// By name, OST indexes.
using OstPools = std::map<std::string, std::set<uint32_t>>;

std::string EncodePools(const OstPools& pools);
Result<OstPools> DecodePools(std::string_view bytes);

struct PoolChange {
  enum class Kind : uint8_t { kNew, kAdd, kRemove, kDestroy };
  Kind kind = Kind::kNew;
  std::string fsname = {};  // for messages
  std::string pool = {};
  std::vector<uint32_t> osts = {};  // kAdd, kRemove
};
// One of `osts` that stays as it was.
struct PoolRefusal {
  uint32_t ost = 0;
  Error error;
};
// `registered`: the OSTs that there are. Gives what could not be done of kAdd and kRemove:
// kNoEntry (no such OST, not in the pool), kExists (it is in the pool), kNoSpace (too many
// members). Errors, with nothing
// changed: kInvalid (the name), kNoEntry, kExists (the pool), kNotEmpty, kNoSpace (too many pools).
Result<std::vector<PoolRefusal>> ChangePools(const PoolChange& change,
                                             const std::set<uint32_t>& registered,
                                             OstPools* pools);

// That the OSTs which `component` of a template asks for by index are in its pool, that there is
// that pool, and that it has OSTs. Errors: kInvalid, with the sentence for people.
Status CheckPoolOf(const layout::Component& component, const OstPools& pools);

}  // namespace sheen::mds
