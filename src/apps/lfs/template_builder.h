// What -c, -S, -i, -o, -E and their like say, as a layout template: for setstripe and migrate.
//
// Options before the first -E belong to the first component, like those behind it; a later
// component without its own -c, -S and -p takes those of the one before it. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "apps/lfs/command.h"
#include "apps/lfs/options.h"
#include "layout/layout.h"

namespace sheen::lfs {

using Outcome = std::expected<void, OptionError>;

std::unexpected<OptionError> UsageError(std::string message);
std::unexpected<OptionError> InvalidError(std::string message);

class TemplateBuilder final {
 public:
  // The options' letters; the long names that they have.
  static constexpr OptionSpec kSpecs[] = {
      {'c', "stripe-count", Takes::kArgument},   {'S', "stripe-size", Takes::kArgument},
      {'i', "stripe-index", Takes::kArgument},   {'o', "ost", Takes::kArgument},
      {'o', "ost-list", Takes::kArgument},       {'E', "component-end", Takes::kArgument},
      {'E', "comp-end", Takes::kArgument},       {'L', "layout", Takes::kArgument},
      {'C', "overstripe-count", Takes::kArgument},
      {'p', "pool", Takes::kArgument},
      {'z', "extension-size", Takes::kArgument, false},
      {'z', "ext-size", Takes::kArgument, false},
  };

  // False: not one of kSpecs.
  std::expected<bool, OptionError> Take(const Option& option);
  // Something was given.
  bool any() const { return open_end_ || gathered_.any(); }
  bool has_components() const { return open_end_.has_value(); }
  // -c or -C.
  bool has_count() const { return has_count_; }
  // Of pools given as FSNAME.POOL; else empty.
  const std::string& fsname() const { return fsname_; }
  // Errors: what layout::Validate says. Once.
  std::expected<layout::Layout, OptionError> Finish();

 private:
  // What was given since the last component was closed.
  struct Gathered {
    std::optional<uint32_t> stripe_count;  // kAllOsts for -1
    std::optional<uint64_t> stripe_bytes;
    bool overstriped = false;          // by -C
    bool pattern_overstriped = false;  // by -L
    std::optional<uint32_t> first_ost;
    std::vector<uint32_t> osts;
    std::optional<std::string> pool;  // as in a layout; empty: the directory's
    bool any() const {
      return stripe_count || stripe_bytes || first_ost || !osts.empty() || pool ||
             pattern_overstriped;
    }
  };

  Outcome TakeCount(const std::string& value);
  Outcome TakeOverstripeCount(const std::string& value);
  Outcome TakePattern(const std::string& value);
  Outcome TakeStripeBytes(const std::string& value);
  Outcome TakeIndex(const std::string& value);
  Outcome TakeOsts(const std::string& value);
  Outcome TakePool(const std::string& value);
  Outcome TakeEnd(const std::string& value);
  // Makes a component that ends at `end` of what was gathered.
  Outcome CloseComponent(uint64_t end);

  layout::Layout layout_;
  Gathered gathered_;
  std::string fsname_;
  bool has_count_ = false;
  std::optional<uint64_t> open_end_;  // of the last -E
};

}  // namespace sheen::lfs
