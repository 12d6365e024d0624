#include "base/metrics.h"

#include <fmt/format.h>

#include <iterator>

namespace sheen {
namespace {

constexpr size_t kFirstBucket = 4;  // below 2^4 us
constexpr size_t kLastBucket = 26;  // below 2^26 us
constexpr size_t kBucketStep = 2;

std::string Escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string LabelText(const MetricLabels& labels, std::string_view more = {}) {
  std::string out;
  for (const auto& [name, value] : labels) {
    fmt::format_to(std::back_inserter(out), "{}{}=\"{}\"", out.empty() ? "" : ",", name,
                   Escaped(value));
  }
  if (!more.empty()) out += (out.empty() ? "" : ",") + std::string(more);
  return out.empty() ? out : "{" + out + "}";
}

}  // namespace

MetricsText::Family& MetricsText::FamilyOf(std::string_view name, std::string_view type,
                                           std::string_view help) {
  const auto found = families_.find(name);
  if (found != families_.end()) return found->second;
  return families_.emplace(name, Family{std::string(type), std::string(help), {}}).first->second;
}

void MetricsText::Counter(std::string_view name, std::string_view help, const MetricLabels& labels,
                          uint64_t value) {
  Family& family = FamilyOf(name, "counter", help);
  family.samples += fmt::format("{}{} {}\n", name, LabelText(labels), value);
}

void MetricsText::Gauge(std::string_view name, std::string_view help, const MetricLabels& labels,
                        double value) {
  Family& family = FamilyOf(name, "gauge", help);
  family.samples += fmt::format("{}{} {}\n", name, LabelText(labels), value);
}

void MetricsText::Latency(std::string_view name, std::string_view help, const MetricLabels& labels,
                          const Tally::Values& values) {
  Family& family = FamilyOf(name, "histogram", help);
  std::string& out = family.samples;
  uint64_t count = 0;
  size_t next = 0;
  for (size_t bound = kFirstBucket; bound <= kLastBucket; bound += kBucketStep) {
    for (; next <= bound; ++next) count += values.buckets[next];
    const double seconds = static_cast<double>(uint64_t{1} << bound) / 1e6;
    out += fmt::format("{}_bucket{} {}\n", name,
                       LabelText(labels, fmt::format("le=\"{}\"", seconds)), count);
  }
  for (; next < Tally::kBuckets; ++next) count += values.buckets[next];
  // The buckets' sum, not the samples': the parts must fit each other.
  out += fmt::format("{}_bucket{} {}\n", name, LabelText(labels, "le=\"+Inf\""), count);
  out +=
      fmt::format("{}_sum{} {}\n", name, LabelText(labels), static_cast<double>(values.sum) / 1e6);
  out += fmt::format("{}_count{} {}\n", name, LabelText(labels), count);
}

std::string MetricsText::Take() {
  std::string out;
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n{}", name, family.help, name, family.type,
                       family.samples);
  }
  families_.clear();
  return out;
}

}  // namespace sheen
