// MetricsText: numbers in the text form that Prometheus reads (exposition format 0.0.4). Samples
// of one family stay together however they come.
//
//   MetricsText text;
//   text.Counter("lustre_read_bytes_total", "Bytes read.", {{"target", "sheen-OST0000"}}, n);
//   body = text.Take();
//
// Not thread-safe: made for one answer.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/stats.h"

namespace sheen {

using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

class MetricsText final {
 public:
  void Counter(std::string_view name, std::string_view help, const MetricLabels& labels,
               uint64_t value);
  void Gauge(std::string_view name, std::string_view help, const MetricLabels& labels,
             double value);
  // Of microseconds, shown in seconds: every second power of two from 16 us to 67 s.
  void Latency(std::string_view name, std::string_view help, const MetricLabels& labels,
               const Tally::Values& values);
  std::string Take();

 private:
  struct Family {
    std::string type;
    std::string help;
    std::string samples;
  };
  Family& FamilyOf(std::string_view name, std::string_view type, std::string_view help);

  std::map<std::string, Family, std::less<>> families_;
};

// A part of a daemon that has numbers. Thread-safe.
using MetricsSource = std::function<void(MetricsText*)>;

}  // namespace sheen
