#include "apps/lfs/template_builder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "apps/lfs/parse.h"
#include "apps/lfs/pools.h"
#include "layout/ost_name.h"

namespace sheen::lfs {
namespace {

bool HasDuplicates(std::vector<uint32_t> osts) {
  std::ranges::sort(osts);
  return std::ranges::adjacent_find(osts) != osts.end();
}

}  // namespace

std::unexpected<OptionError> UsageError(std::string message) {
  return std::unexpected(OptionError{std::move(message), kStatusUsage});
}

std::unexpected<OptionError> InvalidError(std::string message) {
  return std::unexpected(OptionError{std::move(message), EINVAL});
}

std::expected<bool, OptionError> TemplateBuilder::Take(const Option& option) {
  const std::string value = option.value.value_or("");
  Outcome taken;
  switch (option.letter) {
    case 'c':
      has_count_ = true;
      taken = TakeCount(value);
      break;
    case 'C':
      has_count_ = true;
      taken = TakeOverstripeCount(value);
      break;
    case 'S':
      taken = TakeStripeBytes(value);
      break;
    case 'i':
      taken = TakeIndex(value);
      break;
    case 'o':
      taken = TakeOsts(value);
      break;
    case 'p':
      taken = TakePool(value);
      break;
    case 'E':
      taken = TakeEnd(value);
      break;
    case 'L':
      taken = TakePattern(value);
      break;
    default:
      return false;
  }
  if (!taken) return std::unexpected(std::move(taken).error());
  return true;
}

std::expected<layout::Layout, OptionError> TemplateBuilder::Finish() {
  layout_.composite = open_end_.has_value();
  if (Outcome closed = CloseComponent(open_end_.value_or(layout::kEof)); !closed)
    return std::unexpected(closed.error());
  if (const Status valid = layout::Validate(layout_); !valid)
    return InvalidError(valid.error().message());
  return layout_;
}

Outcome TemplateBuilder::TakeCount(const std::string& value) {
  const auto count = ParseInteger(value);
  if (!count) return UsageError("invalid stripe count '" + value + "'");
  if (*count < -1 || *count > layout::kStripeCountMax)
    return InvalidError("Invalid stripe count " + value);
  if (*count == -1) {
    gathered_.stripe_count = layout::kAllOsts;
  } else if (*count > 0) {
    gathered_.stripe_count = static_cast<uint32_t>(*count);
  } else {
    gathered_.stripe_count.reset();
  }
  gathered_.overstriped = false;
  return {};
}

Outcome TemplateBuilder::TakeOverstripeCount(const std::string& value) {
  const auto count = ParseInteger(value);
  if (!count) return UsageError("invalid stripe count '" + value + "'");
  constexpr int64_t kPerOstMax = layout::kAllOsts - layout::kManyPerOst + 1;
  if (*count == 0 || *count < -kPerOstMax || *count > layout::kStripeCountMax)
    return InvalidError("Invalid overstripe count " + value);
  gathered_.overstriped = true;
  gathered_.stripe_count = *count > 0 ? static_cast<uint32_t>(*count)
                                      : layout::kAllOsts - static_cast<uint32_t>(-*count - 1);
  return {};
}

Outcome TemplateBuilder::TakePattern(const std::string& value) {
  if (value == "mdt" || value == "released")
    return std::unexpected(
        OptionError{"layout '" + value + "' is not implemented in Sheen", EOPNOTSUPP});
  if (value != "raid0" && value != "overstriped") {
    return UsageError("invalid layout '" + value + "'");
  }
  gathered_.pattern_overstriped = value == "overstriped";
  return {};
}

Outcome TemplateBuilder::TakeStripeBytes(const std::string& value) {
  const auto bytes = ParseStripeBytes(value);
  if (!bytes) return UsageError("invalid stripe size '" + value + "'");
  if (*bytes == 0) {
    gathered_.stripe_bytes.reset();
    return {};
  }
  if (*bytes >= 4ULL << 30) return InvalidError("stripe size '" + value + "' over 4GB limit");
  if (*bytes % layout::kStripeBytesUnit != 0)
    return InvalidError(fmt::format("bad stripe_size {}, must be an even multiple of {} bytes",
                                    *bytes, layout::kStripeBytesUnit));
  gathered_.stripe_bytes = *bytes;
  return {};
}

Outcome TemplateBuilder::TakeIndex(const std::string& value) {
  const auto index = ParseInteger(value);
  if (!index) return UsageError("invalid stripe index '" + value + "'");
  if (*index < -1 || *index > layout::kOstIndexMax)
    return InvalidError("invalid stripe offset " + value);
  if (*index >= 0) gathered_.first_ost = static_cast<uint32_t>(*index);
  return {};
}

Outcome TemplateBuilder::TakeOsts(const std::string& value) {
  const auto list = ParseIndexList(value);
  if (!list) return UsageError("bad OST indices '" + value + "'");
  gathered_.osts.insert(gathered_.osts.end(), list->begin(), list->end());
  return {};
}

Outcome TemplateBuilder::TakePool(const std::string& value) {
  auto option = ParsePoolOption(value);
  if (!option) return InvalidError(option.error().message());
  gathered_.pool = std::move(option->pool);
  if (!option->fsname.empty() && !fsname_.empty() && option->fsname != fsname_)
    return InvalidError("pools of '" + fsname_ + "' and of '" + option->fsname + "'");
  if (!option->fsname.empty()) fsname_ = std::move(option->fsname);
  return {};
}

Outcome TemplateBuilder::TakeEnd(const std::string& value) {
  uint64_t end = layout::kEof;
  if (value != "-1" && value != "eof" && value != "EOF") {
    const auto bytes = ParseStripeBytes(value);
    if (!bytes || *bytes == 0) return UsageError("invalid component end '" + value + "'");
    end = *bytes;
  }
  if (open_end_) {
    if (Outcome closed = CloseComponent(*open_end_); !closed) return closed;
  }
  open_end_ = end;
  return {};
}

Outcome TemplateBuilder::CloseComponent(uint64_t end) {
  layout::Component component;
  component.id = static_cast<uint32_t>(layout_.components.size()) + 1;
  component.end = end;
  if (!layout_.components.empty()) {
    const layout::Component& before = layout_.components.back();
    component.start = before.end;
    component.stripe_count = before.stripe_count;
    component.stripe_bytes = before.stripe_bytes;
    component.overstriped = before.overstriped && !gathered_.stripe_count;
    component.pool = before.pool;
  }
  if (!gathered_.osts.empty()) {
    const auto listed = static_cast<uint32_t>(gathered_.osts.size());
    if (gathered_.stripe_count.value_or(listed) != listed)
      return InvalidError(fmt::format("stripe count {} doesn't match the number of OSTs: {}",
                                      static_cast<int32_t>(*gathered_.stripe_count), listed));
    if (gathered_.first_ost &&
        std::ranges::find(gathered_.osts, *gathered_.first_ost) == gathered_.osts.end())
      return InvalidError(
          fmt::format("stripe index {} is not in the OST list", *gathered_.first_ost));
    component.wanted_osts = gathered_.osts;
    component.stripe_count = listed;
    component.overstriped = gathered_.overstriped || HasDuplicates(gathered_.osts);
  } else if (gathered_.stripe_count) {
    component.stripe_count = *gathered_.stripe_count;
    component.overstriped = gathered_.overstriped;
  }
  if (gathered_.pattern_overstriped) component.overstriped = true;
  if (gathered_.stripe_bytes) component.stripe_bytes = *gathered_.stripe_bytes;
  if (gathered_.first_ost) component.first_ost = *gathered_.first_ost;
  if (gathered_.pool) component.pool = *gathered_.pool;
  layout_.components.push_back(std::move(component));
  gathered_ = {};
  return {};
}

}  // namespace sheen::lfs
