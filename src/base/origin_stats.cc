#include "base/origin_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace sheen {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string_view NameOf(Unit unit) {
  switch (unit) {
    case Unit::kBytes:
      return "bytes";
    case Unit::kRequests:
      return "reqs";
    default:
      return "usecs";
  }
}

std::string Time(int64_t ns) { return fmt::format("{}.{:09}", ns / kSecond, ns % kSecond); }

// What would break the line, and blanks, as \x20.
std::string Escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c > ' ' && c < '\x7f' && c != '\\' && c != '"') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

}  // namespace

bool OriginStats::Expired(const Origin& origin, int64_t now_ns) const {
  const uint64_t seconds = cleanup_seconds();
  return seconds != 0 && now_ns - origin.last_ns > static_cast<int64_t>(seconds) * kSecond;
}

void OriginStats::MakeRoom(Stripe* stripe, int64_t now_ns) const {
  if (stripe->origins.size() < kOriginsMax / kStripes) return;
  std::erase_if(stripe->origins,
                [&](const auto& entry) { return Expired(entry.second, now_ns); });
  if (stripe->origins.size() < kOriginsMax / kStripes) return;
  stripe->origins.erase(std::ranges::min_element(
      stripe->origins, {}, [](const auto& entry) { return entry.second.last_ns; }));
}

void OriginStats::Record(std::string_view origin, size_t index, uint64_t value, int64_t now_ns) {
  std::string name(origin);
  Stripe& stripe = stripes_[std::hash<std::string>()(name) % kStripes];
  const std::scoped_lock lock(stripe.mutex);
  auto found = stripe.origins.find(name);
  if (found != stripe.origins.end() && Expired(found->second, now_ns)) {
    stripe.origins.erase(found);
    found = stripe.origins.end();
  }
  if (found == stripe.origins.end()) {
    MakeRoom(&stripe, now_ns);
    Origin fresh;
    fresh.name = name;
    fresh.since_ns = now_ns;
    fresh.sums.resize(specs_.size());
    found = stripe.origins.emplace(std::move(name), std::move(fresh)).first;
  }
  found->second.last_ns = now_ns;
  Sums& sums = found->second.sums[index];
  sums.min = sums.samples == 0 ? value : std::min(sums.min, value);
  sums.max = std::max(sums.max, value);
  ++sums.samples;
  sums.sum += value;
  sums.sum_squares += value * value;
}

std::vector<OriginStats::Origin> OriginStats::All(int64_t now_ns) const {
  std::vector<Origin> out;
  for (const Stripe& stripe : stripes_) {
    const std::scoped_lock lock(stripe.mutex);
    for (const auto& [name, origin] : stripe.origins) {
      if (!Expired(origin, now_ns)) out.push_back(origin);
    }
  }
  std::ranges::sort(out, {}, &Origin::name);
  return out;
}

std::string OriginStats::Yaml(std::string_view key, int64_t now_ns) const {
  std::string out;
  const auto line = [&out](std::string_view indent, std::string_view name, std::string_view value) {
    out += fmt::format("{}{:<17}{}\n", indent, fmt::format("{}:", name), value);
  };
  for (const Origin& origin : All(now_ns)) {
    line("- ", key, Escaped(origin.name));
    line("  ", "snapshot_time", Time(origin.last_ns));
    line("  ", "start_time", Time(origin.since_ns));
    line("  ", "elapsed_time", Time(std::max<int64_t>(now_ns - origin.since_ns, 0)));
    for (size_t i = 0; i < specs_.size(); ++i) {
      const Sums& sums = origin.sums[i];
      if (sums.samples == 0) continue;
      line("  ", specs_[i].name,
           fmt::format("{{ samples: {:>11}, unit: {:>5}, min: {:>8}, max: {:>8}, sum: {:>15}, "
                       "sumsq: {:>15} }}",
                       sums.samples, NameOf(specs_[i].unit), sums.min, sums.max, sums.sum,
                       sums.sum_squares));
    }
  }
  return out;
}

void OriginStats::Clear(const std::string& origin) {
  const bool all = origin.empty() || origin == "clear";
  for (Stripe& stripe : stripes_) {
    const std::scoped_lock lock(stripe.mutex);
    if (all) {
      stripe.origins.clear();
    } else {
      stripe.origins.erase(origin);
    }
  }
}

}  // namespace sheen
