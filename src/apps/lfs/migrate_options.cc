#include "apps/lfs/migrate_options.h"

#include <vector>

#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"
#include "apps/lfs/template_builder.h"

namespace sheen::lfs {

namespace {

enum LongOnly : int { kStats = 256, kStatsInterval, kFilesFrom, kCopy, kFid, kLustreDir };

constexpr OptionSpec kOwnSpecs[] = {
    {'b', "block"},
    {'n', "non-block"},
    {'v', "verbose"},
    {'0', "null"},
    {'D', "non-direct"},
    {'W', "bandwidth-limit", Takes::kArgument},
    {kStats, "stats"},
    {kStatsInterval, "stats-interval", Takes::kArgument},
    {kFilesFrom, "files-from", Takes::kArgument},
    {kCopy, "copy", Takes::kArgument},
    {'y', "yaml", Takes::kArgument},
    {'A', "auto-stripe", Takes::kOptional},
    {'K', "cap", Takes::kArgument},
    {'M', "min-free", Takes::kArgument},
    {'m', "mdt-index", Takes::kArgument, false},
    {'H', "mdt-hash", Takes::kArgument, false},
    {'d', "directory", Takes::kNothing, false},
    {kFid, "fid"},
    {kLustreDir, "lustre-dir", Takes::kArgument},
};

// As it was given.
struct Given {
  MigrateRequest request;
  bool by_size = false;  // -A
  bool limits = false;   // -K, -M
  bool fids = false;     // --fid
  AutoStripe rules;
};

Outcome TakeAuto(const Option& option, Given* given) {
  const std::string value = option.value.value_or("");
  switch (option.letter) {
    case 'A':
      if (!value.empty()) return UsageError("auto-stripe mode '" + value + "' is not known");
      given->by_size = true;
      return {};
    case 'K': {
      const auto cap = ParseInteger(value);
      if (!cap || *cap < 1) return UsageError("invalid cap '" + value + "'");
      given->rules.cap = static_cast<uint64_t>(*cap);
      break;
    }
    default: {
      const auto bytes = ParseSize(value);
      if (!bytes) return UsageError("invalid minimum of free space '" + value + "'");
      given->rules.free_bytes_min = bytes->bytes;
    }
  }
  given->limits = true;
  return {};
}

Outcome TakeOwn(const Option& option, MigrateRequest* request) {
  const std::string value = option.value.value_or("");
  switch (option.letter) {
    case 'b':
    case 'n':
      (option.letter == 'b' ? request->block : request->non_block) = true;
      if (!request->block || !request->non_block) return {};
      return UsageError("--block and --non-block contradict each other");
    case 'v':
      request->verbose = true;
      return {};
    case '0':
      request->null_separated = true;
      return {};
    case 'D':  // data never goes through the caller's page cache
      return {};
    case 'W': {
      const auto mib = ParseInteger(value);
      if (!mib || *mib < 0) return UsageError("invalid bandwidth limit '" + value + "'");
      request->bytes_per_second = static_cast<uint64_t>(*mib) << 20;
      return {};
    }
    case kStats:
      request->stats = true;
      return {};
    case kStatsInterval: {
      const auto seconds = ParseInteger(value);
      if (!seconds || *seconds < 1) return UsageError("invalid stats interval '" + value + "'");
      request->stats = true;
      request->stats_seconds = static_cast<uint64_t>(*seconds);
      return {};
    }
    case kFilesFrom:
      request->files_from = value;
      return {};
    case kCopy:
      request->copy_from = value;
      return {};
    case kLustreDir:
      request->directory = value;
      return {};
    default:
      request->yaml_file = value;
      return {};
  }
}

Outcome CheckAuto(const layout::Layout& layout, const TemplateBuilder& builder) {
  const bool listed = !layout.components[0].wanted_osts.empty();
  if (builder.has_components() || builder.has_count() || listed)
    return UsageError("--auto-stripe chooses the stripe count: no -c, -C, -o and -E with it");
  return {};
}

std::expected<MigrateRequest, OptionError> Finish(Given given, TemplateBuilder* builder) {
  MigrateRequest& request = given.request;
  if (request.paths.empty() && request.files_from.empty())
    return UsageError("no file to be migrated is named");
  if (request.null_separated && request.files_from.empty())
    return UsageError("-0 goes with --files-from");
  const int templates = (request.copy_from.empty() ? 0 : 1) + (request.yaml_file.empty() ? 0 : 1);
  if (templates > 1 || (templates == 1 && (builder->any() || given.by_size)))
    return UsageError("can't specify --yaml or --copy with other options");
  if (given.fids != !request.directory.empty())
    return UsageError("--fid and --lustre-dir go together");
  if (given.limits && !given.by_size)
    return UsageError("--cap and --min-free go with --auto-stripe");
  if (!builder->any() && !given.by_size) return request;
  auto layout = builder->Finish();
  if (!layout) return std::unexpected(layout.error());
  if (given.by_size) {
    if (Outcome checked = CheckAuto(*layout, *builder); !checked)
      return std::unexpected(checked.error());
    request.auto_stripe = given.rules;
  }
  request.layout_template = std::move(*layout);
  request.pool_fsname = builder->fsname();
  return request;
}

}  // namespace

std::expected<MigrateRequest, OptionError> ParseMigrate(const Arguments& args) {
  std::vector<OptionSpec> specs(std::begin(TemplateBuilder::kSpecs),
                                std::end(TemplateBuilder::kSpecs));
  specs.insert(specs.end(), std::begin(kOwnSpecs), std::end(kOwnSpecs));
  OptionReader reader(args, specs);
  TemplateBuilder builder;
  Given given;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    const auto taken = builder.Take(**option);
    if (!taken) return std::unexpected(taken.error());
    if (*taken) continue;
    const int letter = (*option)->letter;
    const bool automatic = letter == 'A' || letter == 'K' || letter == 'M';
    given.fids = given.fids || letter == kFid;
    if (letter == kFid) continue;
    if (Outcome own = automatic ? TakeAuto(**option, &given) : TakeOwn(**option, &given.request);
        !own)
      return std::unexpected(own.error());
  }
  given.request.paths = reader.Rest();
  return Finish(std::move(given), &builder);
}

}  // namespace sheen::lfs
