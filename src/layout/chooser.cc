// OST choice. Two ways, as in Lustre (lod_qos.c):
//
// Round robin, while free space is about equal: OSTs stand on a ring on which each server's OSTs
// are spread evenly, and each file takes the next few. So neighbours on the ring are on different
// servers and every OST gets the same share.
//
// Weighted, once the emptiest has 17% more free space than the fullest: each stripe takes the OST
// at a point of a line on which every OST is as long as its free space. The points are multiples of
// the golden ratio (a low-discrepancy sequence), so that shares come out even without a random
// number. An OST is taken off the line when taken, and its server's others are shortened for this
// file.
#include <algorithm>
#include <map>
#include <utility>

#include "layout/layout.h"

namespace sheen::layout {

namespace {

constexpr uint64_t kFreeBytesMin = 1 << 20;               // below it an OST is full
constexpr uint64_t kSpreadPercentMax = 17;                // Lustre's qos_threshold_rr
constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15ULL;  // of 2^64

using OstList = std::vector<const OstState*>;

const OstState* Find(const std::vector<OstState>& osts, uint32_t index) {
  const auto found = std::ranges::find(osts, index, &OstState::index);
  return found == osts.end() ? nullptr : &*found;
}

Status CheckNamed(const std::vector<OstState>& osts, uint32_t index) {
  const OstState* const ost = Find(osts, index);
  if (ost == nullptr)
    return Fail(Errc::kInvalid, "there is no OST with index " + std::to_string(index));
  if (!ost->usable)
    return Fail(Errc::kInvalid, "OST " + std::to_string(index) + " is not available for new files");
  if (!HasRoom(*ost)) return Fail(Errc::kNoSpace, "OST " + std::to_string(index) + " is full");
  return {};
}

size_t CountOf(const Component& component, size_t usable) {
  uint64_t count = component.stripe_count;
  if (component.stripe_count >= kManyPerOst) {
    count = usable * (uint64_t{kAllOsts} - component.stripe_count + 1);
  }
  // A component is not longer than its stripes.
  if (component.end != kEof)
    count = std::min(count, (component.end - component.start) / component.stripe_bytes);
  return std::clamp<uint64_t>(count, 1, component.overstriped ? kStripeCountMax : usable);
}

// By index, from `first` on, around.
OstList FromFirst(OstList osts, uint32_t first, size_t count) {
  std::ranges::sort(osts, {}, &OstState::index);
  const auto start = std::ranges::find(osts, first, &OstState::index);
  std::rotate(osts.begin(), start, osts.end());
  osts.resize(count);
  return osts;
}

// The ring: the k-th of a server's m OSTs stands at (2k + 1) / 2m.
OstList Ring(OstList osts) {
  std::ranges::sort(osts, {}, &OstState::index);
  std::map<std::string_view, uint64_t> total;
  for (const OstState* ost : osts) ++total[ost->server];
  struct Place {
    double at;
    const OstState* ost;
  };
  std::vector<Place> places;
  std::map<std::string_view, uint64_t> seen;
  for (const OstState* ost : osts) {
    const auto k = static_cast<double>(seen[ost->server]++);
    places.push_back({(2 * k + 1) / (2 * static_cast<double>(total[ost->server])), ost});
  }
  std::ranges::sort(places, {}, [](const Place& p) { return std::pair(p.at, p.ost->index); });
  OstList ring;
  for (const Place& place : places) ring.push_back(place.ost);
  return ring;
}

OstList RoundRobin(const OstList& osts, size_t count, uint64_t* position) {
  const OstList ring = Ring(osts);
  OstList chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(ring[(*position + i) % ring.size()]);
  *position += count;
  return chosen;
}

OstList Weighted(OstList osts, size_t count, uint64_t* position) {
  std::ranges::sort(osts, {}, &OstState::index);
  std::map<std::string_view, double> taken;
  OstList chosen;
  while (chosen.size() < count) {
    std::vector<double> ends;
    double line = 0;
    for (const OstState* ost : osts) {
      const double shorter = 1 + taken[ost->server];
      line += static_cast<double>(ost->bytes_free) / (shorter * shorter);
      ends.push_back(line);
    }
    // The top 53 bits: what a double holds, so that the point stays below the line's end.
    const double point = static_cast<double>((++*position * kGoldenRatio) >> 11) * 0x1p-53 * line;
    const auto at = std::min(std::ranges::upper_bound(ends, point), ends.end() - 1) - ends.begin();
    const OstState* const ost = osts[static_cast<size_t>(at)];
    chosen.push_back(ost);
    ++taken[ost->server];
    osts.erase(osts.begin() + at);
  }
  return chosen;
}

bool Unequal(const OstList& osts) {
  const auto [least, most] = std::ranges::minmax(osts, {}, &OstState::bytes_free);
  return most->bytes_free - least->bytes_free > most->bytes_free / 100 * kSpreadPercentMax;
}

// Those with room, of the best reach that there is; `first`, if it is one of all, in any case.
OstList Candidates(const std::vector<OstState>& osts, uint32_t first) {
  OstList candidates;
  Reach best = Reach::kAway;
  for (const OstState& ost : osts) {
    if (HasRoom(ost)) best = std::min(best, ost.reach);
  }
  for (const OstState& ost : osts) {
    if (HasRoom(ost) && (ost.reach == best || ost.index == first)) candidates.push_back(&ost);
  }
  return candidates;
}

OstList ChooseEach(const Component& component, const OstList& usable, size_t count,
                   uint64_t* position) {
  if (component.first_ost != kAnyOst) return FromFirst(usable, component.first_ost, count);
  if (Unequal(usable)) return Weighted(usable, count, position);
  return RoundRobin(usable, count, position);
}

}  // namespace

bool HasRoom(const OstState& ost) { return ost.usable && ost.bytes_free >= kFreeBytesMin; }

Result<std::vector<uint32_t>> ChooseOsts(const Component& component,
                                         const std::vector<OstState>& osts, uint64_t* position) {
  if (!component.wanted_osts.empty()) {
    for (const uint32_t index : component.wanted_osts) SHEEN_TRY(CheckNamed(osts, index));
    return component.wanted_osts;
  }
  const OstList usable = Candidates(osts, component.first_ost);
  if (component.first_ost != kAnyOst) SHEEN_TRY(CheckNamed(osts, component.first_ost));
  if (usable.empty())
    return Fail(Errc::kNoSpace, "no OST is writable and has space: see lfs df");
  const size_t count = CountOf(component, usable.size());
  std::vector<uint32_t> indexes;
  // More stripes than OSTs: each gets one before any gets a second.
  while (indexes.size() < count) {
    const OstList round =
        ChooseEach(component, usable, std::min(count - indexes.size(), usable.size()), position);
    for (const OstState* ost : round) indexes.push_back(ost->index);
  }
  return indexes;
}

}  // namespace sheen::layout
