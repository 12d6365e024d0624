#include "apps/lfs/setstripe_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

enum LongOnly : int {
  kComponentAdd = 256,
  kComponentDel,
  kComponentSet,
  kComponentFlags,
  kCopy,
  kForeign,
  kXattr,
  kMode,
  kErasure
};

constexpr OptionSpec kSpecs[] = {
    {'c', "stripe-count", Takes::kArgument},
    {'S', "stripe-size", Takes::kArgument},
    {'i', "stripe-index", Takes::kArgument},
    {'o', "ost", Takes::kArgument},
    {'o', "ost-list", Takes::kArgument},
    {'E', "component-end", Takes::kArgument},
    {'E', "comp-end", Takes::kArgument},
    {'L', "layout", Takes::kArgument},
    {'d', "delete"},
    {'C', "overstripe-count", Takes::kArgument, false},
    {'p', "pool", Takes::kArgument, false},
    {'z', "extension-size", Takes::kArgument, false},
    {'z', "ext-size", Takes::kArgument, false},
    {'I', "component-id", Takes::kArgument, false},
    {'I', "comp-id", Takes::kArgument, false},
    {'N', "mirror-count", Takes::kOptional, false},
    {'y', "yaml", Takes::kArgument},
    {kComponentAdd, "component-add", Takes::kNothing, false},
    {kComponentAdd, "comp-add", Takes::kNothing, false},
    {kComponentDel, "component-del", Takes::kNothing, false},
    {kComponentDel, "comp-del", Takes::kNothing, false},
    {kComponentSet, "component-set", Takes::kNothing, false},
    {kComponentSet, "comp-set", Takes::kNothing, false},
    {kComponentFlags, "component-flags", Takes::kArgument, false},
    {kComponentFlags, "comp-flags", Takes::kArgument, false},
    {kCopy, "copy", Takes::kArgument},
    {kForeign, "foreign", Takes::kOptional, false},
    {kXattr, "xattr", Takes::kArgument, false},
    {kMode, "mode", Takes::kArgument, false},
    {kErasure, "ec", Takes::kArgument, false},
};

using Outcome = std::expected<void, OptionError>;

std::unexpected<OptionError> Usage(std::string message) {
  return std::unexpected(OptionError{std::move(message), kStatusUsage});
}
std::unexpected<OptionError> Invalid(std::string message) {
  return std::unexpected(OptionError{std::move(message), EINVAL});
}

// What was given since the last component was closed.
struct Gathered {
  std::optional<uint32_t> stripe_count;  // kAllOsts for -1
  std::optional<uint64_t> stripe_bytes;
  std::optional<uint32_t> first_ost;
  std::vector<uint32_t> osts;
  bool any() const { return stripe_count || stripe_bytes || first_ost || !osts.empty(); }
};

class Builder final {
 public:
  Outcome Take(const Option& option) {
    const std::string value = option.value.value_or("");
    switch (option.letter) {
      case 'c':
        return TakeCount(value);
      case 'S':
        return TakeStripeBytes(value);
      case 'i':
        return TakeIndex(value);
      case 'o':
        return TakeOsts(value);
      case 'E':
        return TakeEnd(value);
      case 'L':
        return TakePattern(value);
      case kCopy:
        copy_from_ = value;
        return {};
      case 'y':
        yaml_file_ = value;
        return {};
      default:
        remove_ = true;
        return {};
    }
  }

  std::expected<SetstripeRequest, OptionError> Finish(Arguments paths) {
    if (paths.empty()) return Usage("missing filename|dirname");
    SetstripeRequest request{.remove = remove_, .layout_template = {}, .paths = std::move(paths)};
    const int templates = (remove_ ? 1 : 0) + (copy_from_.empty() ? 0 : 1) +
                          (yaml_file_.empty() ? 0 : 1);
    if (templates > 0) {
      if (templates > 1 || open_end_ || gathered_.any()) {
        return Usage(remove_ ? "cannot specify -d with other options"
                             : "can't specify --yaml or --copy with other options");
      }
      request.copy_from = copy_from_;
      request.yaml_file = yaml_file_;
      return request;
    }
    layout_.composite = open_end_.has_value();
    if (Outcome closed = CloseComponent(open_end_.value_or(layout::kEof)); !closed)
      return std::unexpected(closed.error());
    if (const Status valid = layout::Validate(layout_); !valid)
      return Invalid(valid.error().message());
    request.layout_template = layout_;
    return request;
  }

 private:
  Outcome TakeCount(const std::string& value) {
    const auto count = ParseInteger(value);
    if (!count) return Usage("invalid stripe count '" + value + "'");
    if (*count < -1 || *count > layout::kStripeCountMax)
      return Invalid("Invalid stripe count " + value);
    if (*count == -1) {
      gathered_.stripe_count = layout::kAllOsts;
    } else if (*count > 0) {
      gathered_.stripe_count = static_cast<uint32_t>(*count);
    } else {
      gathered_.stripe_count.reset();
    }
    return {};
  }

  Outcome TakeStripeBytes(const std::string& value) {
    const auto bytes = ParseStripeBytes(value);
    if (!bytes) return Usage("invalid stripe size '" + value + "'");
    if (*bytes == 0) {
      gathered_.stripe_bytes.reset();
      return {};
    }
    if (*bytes >= 4ULL << 30) return Invalid("stripe size '" + value + "' over 4GB limit");
    if (*bytes % layout::kStripeBytesUnit != 0)
      return Invalid(fmt::format("bad stripe_size {}, must be an even multiple of {} bytes", *bytes,
                                 layout::kStripeBytesUnit));
    gathered_.stripe_bytes = *bytes;
    return {};
  }

  Outcome TakeIndex(const std::string& value) {
    const auto index = ParseInteger(value);
    if (!index) return Usage("invalid stripe index '" + value + "'");
    if (*index < -1 || *index > 0xffdf) return Invalid("invalid stripe offset " + value);
    if (*index >= 0) gathered_.first_ost = static_cast<uint32_t>(*index);
    return {};
  }

  Outcome TakeOsts(const std::string& value) {
    const auto list = ParseIndexList(value);
    if (!list) return Usage("bad OST indices '" + value + "'");
    gathered_.osts.insert(gathered_.osts.end(), list->begin(), list->end());
    return {};
  }

  Outcome TakeEnd(const std::string& value) {
    uint64_t end = layout::kEof;
    if (value != "-1" && value != "eof" && value != "EOF") {
      const auto bytes = ParseStripeBytes(value);
      if (!bytes || *bytes == 0) return Usage("invalid component end '" + value + "'");
      end = *bytes;
    }
    if (open_end_) {
      if (Outcome closed = CloseComponent(*open_end_); !closed) return closed;
    }
    open_end_ = end;
    return {};
  }

  static Outcome TakePattern(const std::string& value) {
    if (value == "raid0") return {};
    if (value == "mdt" || value == "released" || value == "overstriped")
      return std::unexpected(
          OptionError{"layout '" + value + "' is not implemented in Sheen", EOPNOTSUPP});
    return Usage("invalid layout '" + value + "'");
  }

  // Makes a component that ends at `end` of what was gathered.
  Outcome CloseComponent(uint64_t end) {
    layout::Component component;
    component.id = static_cast<uint32_t>(layout_.components.size()) + 1;
    component.end = end;
    if (!layout_.components.empty()) {
      const layout::Component& before = layout_.components.back();
      component.start = before.end;
      component.stripe_count = before.stripe_count;
      component.stripe_bytes = before.stripe_bytes;
    }
    if (!gathered_.osts.empty()) {
      const auto listed = static_cast<uint32_t>(gathered_.osts.size());
      if (gathered_.stripe_count.value_or(listed) != listed)
        return Invalid(fmt::format("stripe count {} doesn't match the number of OSTs: {}",
                                   static_cast<int32_t>(*gathered_.stripe_count), listed));
      if (gathered_.first_ost &&
          std::ranges::find(gathered_.osts, *gathered_.first_ost) == gathered_.osts.end())
        return Invalid(fmt::format("stripe index {} is not in the OST list", *gathered_.first_ost));
      component.wanted_osts = gathered_.osts;
      component.stripe_count = listed;
    } else if (gathered_.stripe_count) {
      component.stripe_count = *gathered_.stripe_count;
    }
    if (gathered_.stripe_bytes) component.stripe_bytes = *gathered_.stripe_bytes;
    if (gathered_.first_ost) component.first_ost = *gathered_.first_ost;
    layout_.components.push_back(std::move(component));
    gathered_ = {};
    return {};
  }

  bool remove_ = false;
  std::string copy_from_;
  std::string yaml_file_;
  layout::Layout layout_;
  Gathered gathered_;
  std::optional<uint64_t> open_end_;  // of the last -E
};

}  // namespace

std::expected<SetstripeRequest, OptionError> ParseSetstripe(const Arguments& args) {
  OptionReader reader(args, kSpecs);
  Builder builder;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) return builder.Finish(reader.Rest());
    if (Outcome taken = builder.Take(**option); !taken) return std::unexpected(taken.error());
  }
}

}  // namespace sheen::lfs
