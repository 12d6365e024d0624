#include "apps/lfs/setstripe_options.h"

#include <cerrno>
#include <optional>
#include <vector>

#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"
#include "apps/lfs/template_builder.h"

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

constexpr OptionSpec kOwnSpecs[] = {
    {'d', "delete"},
    {'I', "component-id", Takes::kArgument},
    {'I', "comp-id", Takes::kArgument},
    {'N', "mirror-count", Takes::kOptional, false},
    {'y', "yaml", Takes::kArgument},
    {kComponentAdd, "component-add"},
    {kComponentAdd, "comp-add"},
    {kComponentDel, "component-del"},
    {kComponentDel, "comp-del"},
    {kComponentSet, "component-set"},
    {kComponentSet, "comp-set"},
    {kComponentFlags, "component-flags", Takes::kArgument},
    {kComponentFlags, "comp-flags", Takes::kArgument},
    {kCopy, "copy", Takes::kArgument},
    {kForeign, "foreign", Takes::kOptional, false},
    {kXattr, "xattr", Takes::kArgument, false},
    {kMode, "mode", Takes::kArgument, false},
    {kErasure, "ec", Takes::kArgument, false},
};

class Builder final {
 public:
  Outcome Take(const Option& option) {
    const auto taken = template_.Take(option);
    if (!taken) return std::unexpected(taken.error());
    if (*taken) return {};
    const std::string value = option.value.value_or("");
    switch (option.letter) {
      case kCopy:
        copy_from_ = value;
        return {};
      case 'y':
        yaml_file_ = value;
        return {};
      case 'I':
        return TakeId(value);
      case kComponentFlags:
        return TakeFlags(value);
      case kComponentAdd:
        return TakeAction(Action::kAdd);
      case kComponentDel:
        return TakeAction(Action::kDelete);
      case kComponentSet:
        return TakeAction(Action::kSetFlags);
      default:
        return TakeAction(Action::kRemove);
    }
  }

  std::expected<SetstripeRequest, OptionError> Finish(Arguments paths) {
    if (paths.empty()) return UsageError("missing filename|dirname");
    SetstripeRequest request;
    request.action = action_;
    request.component_id = id_.value_or(0);
    request.paths = std::move(paths);
    const bool chooses = action_ == Action::kDelete || action_ == Action::kSetFlags;
    if ((id_ || flags_) && !chooses)
      return UsageError("-I and --component-flags go with --component-del and --component-set");
    if (action_ == Action::kDelete) return FinishDelete(std::move(request));
    if (action_ == Action::kSetFlags) return FinishSetFlags(std::move(request));
    if (action_ == Action::kAdd && !template_.has_components())
      return UsageError("--component-add needs at least one -E");
    const bool remove = action_ == Action::kRemove;
    const int templates = (remove ? 1 : 0) + (copy_from_.empty() ? 0 : 1) +
                          (yaml_file_.empty() ? 0 : 1);
    if (templates > 0) {
      if (templates > 1 || template_.any()) {
        return UsageError(remove ? "cannot specify -d with other options"
                                 : "can't specify --yaml or --copy with other options");
      }
      request.copy_from = copy_from_;
      request.yaml_file = yaml_file_;
      return request;
    }
    auto layout = template_.Finish();
    if (!layout) return std::unexpected(layout.error());
    request.layout_template = std::move(*layout);
    request.pool_fsname = template_.fsname();
    return request;
  }

 private:
  using Action = SetstripeRequest::Action;

  Outcome TakeAction(Action action) {
    if (action_ != Action::kSet && action_ != action) {
      return UsageError(
          "only one of -d, --component-add, --component-del and --component-set can be given");
    }
    action_ = action;
    return {};
  }

  Outcome TakeId(const std::string& value) {
    const auto id = ParseInteger(value);
    if (!id || *id < 1 || *id > INT32_MAX)
      return UsageError("invalid component id '" + value + "'");
    id_ = static_cast<uint32_t>(*id);
    return {};
  }

  Outcome TakeFlags(const std::string& value) {
    const auto flags = ParseComponentFlags(value);
    if (!flags) return std::unexpected(flags.error());
    flags_ = *flags;
    return {};
  }

  std::expected<SetstripeRequest, OptionError> FinishDelete(SetstripeRequest request) const {
    if (template_.any() || !copy_from_.empty() || !yaml_file_.empty())
      return UsageError("--component-del takes no layout");
    if (id_.has_value() == flags_.has_value())
      return UsageError("--component-del needs one of -I and --component-flags=^init");
    if (flags_ && (flags_->without != kComponentHasObjects || flags_->with != 0))
      return UsageError("--component-del takes of --component-flags only '^init'");
    return request;
  }

  std::expected<SetstripeRequest, OptionError> FinishSetFlags(SetstripeRequest request) const {
    if (template_.any() || !copy_from_.empty() || !yaml_file_.empty())
      return UsageError("--component-set takes no layout");
    if (!id_ || !flags_) return UsageError("--component-set needs -I and --component-flags");
    if (((flags_->with | flags_->without) & kComponentHasObjects) != 0)
      return UsageError("component flag 'init' cannot be set or cleared");
    request.flags = *flags_;
    return request;
  }

  Action action_ = Action::kSet;
  std::optional<uint32_t> id_;
  std::optional<FlagList> flags_;
  std::string copy_from_;
  std::string yaml_file_;
  TemplateBuilder template_;
};

}  // namespace

std::expected<SetstripeRequest, OptionError> ParseSetstripe(const Arguments& args) {
  std::vector<OptionSpec> specs(std::begin(TemplateBuilder::kSpecs),
                                std::end(TemplateBuilder::kSpecs));
  specs.insert(specs.end(), std::begin(kOwnSpecs), std::end(kOwnSpecs));
  OptionReader reader(args, specs);
  Builder builder;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) return builder.Finish(reader.Rest());
    if (Outcome taken = builder.Take(**option); !taken) return std::unexpected(taken.error());
  }
}

}  // namespace sheen::lfs
