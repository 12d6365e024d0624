// getdirstripe, mkdir (setdirstripe). There is one MDT: every directory lies on MDT0000 whole.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "apps/lfs/command.h"
#include "apps/lfs/device.h"
#include "apps/lfs/options.h"
#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

constexpr char kGet[] = "getdirstripe";
constexpr mode_t kModeDefault = 0777;

constexpr OptionSpec kGetSpecs[] = {
    {'c', "mdt-count"},
    {'T', "mdt-count"},
    {'i', "mdt-index"},
    {'m', "mdt-index"},
    {'H', "mdt-hash"},
    {'D', "default"},
    {'r', "recursive"},
    {'y', "yaml"},
    {'v', "verbose"},
    {'R', "raw"},
    {'d', "directory"},
    {'O', "obd", Takes::kArgument, false},
    {'X', "max-inherit", Takes::kNothing, false},
};

constexpr OptionSpec kMakeSpecs[] = {
    {'i', "mdt-index", Takes::kArgument},
    {'m', "mdt-index", Takes::kArgument},
    {'c', "mdt-count", Takes::kArgument},
    {'T', "mdt-count", Takes::kArgument},
    {'o', "mode", Takes::kArgument},
    {'C', "mdt-overcount", Takes::kArgument, false},
    {'H', "mdt-hash", Takes::kArgument, false},
    {'D', "default", Takes::kNothing, false},
    {'d', "delete", Takes::kNothing, false},
    {'X', "max-inherit", Takes::kArgument, false},
    {256, "max-inherit-rr", Takes::kArgument, false},
};

struct GetRequest {
  std::string letters;
  Arguments paths;
  bool has(char letter) const { return letters.find(letter) != std::string::npos; }
};

std::string Text(const GetRequest& request, const Fid& fid) {
  const bool defaults = request.has('D');
  if (request.has('i') || request.has('m')) return defaults ? "-1\n" : "0\n";
  if (request.has('c') || request.has('T')) return defaults ? "1\n" : "0\n";
  if (request.has('H')) return "none\n";
  if (defaults) {
    return "lmv_stripe_count: 1 lmv_stripe_offset: -1 lmv_hash_type: none lmv_max_inherit: -1 "
           "lmv_max_inherit_rr: 0\n";
  }
  if (!request.has('y')) return "lmv_stripe_count: 0 lmv_stripe_offset: 0 lmv_hash_type: none\n";
  std::string bare = fid.ToString();
  std::erase_if(bare, [](char c) { return c == '[' || c == ']'; });
  return "lmv_stripe_count:  0\nlmv_stripe_offset: 0\nlmv_hash_type:     none\nlmv_objects:\n"
         "      - l_mdt_idx: 0\n        l_fid:     " +
         bare + "\n";
}

int ReportGetError(const std::string& path, const Error& error) {
  std::fflush(stdout);
  fmt::print(stderr, "lfs: {} for '{}' failed: {}\n", kGet, path, ErrnoText(error));
  return ErrnoOf(error.code());
}

int ShowOne(const GetRequest& request, const std::string& path, bool many) {
  const auto device = Device::Open(path, O_RDONLY | O_DIRECTORY);
  if (!device) return ReportGetError(path, device.error());
  const auto fid = device->GetFid();
  if (!fid) return ReportGetError(path, fid.error());
  if (many) fmt::print("{}\n", path);
  fmt::print("{}", Text(request, *fid));
  if (!request.has('r')) return 0;
  int last = 0;
  std::error_code error;
  std::vector<std::string> below;
  for (std::filesystem::directory_iterator at(path, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->symlink_status(ignored).type() == std::filesystem::file_type::directory) {
      below.push_back(at->path());
    }
  }
  if (error) return ReportGetError(path, FailErrno(error.value(), path).error());
  std::ranges::sort(below);
  for (const std::string& directory : below) {
    const int status = ShowOne(request, directory, true);
    if (status != 0) last = status;
  }
  return last;
}

struct MakeRequest {
  std::optional<mode_t> mode;
  Arguments paths;
};

std::unexpected<OptionError> Wrong(std::string message, int status = kStatusUsage) {
  return std::unexpected(OptionError{std::move(message), status});
}

std::expected<void, OptionError> TakeMake(const Option& option, MakeRequest* request) {
  const std::string& value = *option.value;
  if (option.letter == 'o') {
    if (value.empty() || value.size() > 4 ||
        value.find_first_not_of("01234567") != std::string::npos) {
      return Wrong("bad mode '" + value + "'; it must be octal");
    }
    request->mode = static_cast<mode_t>(std::stoul(value, nullptr, 8));
    return {};
  }
  const auto number = ParseInteger(value);
  const bool is_index = option.letter == 'i' || option.letter == 'm';
  if (!number || *number < -1) {
    return Wrong(fmt::format("bad MDT {} '{}'", is_index ? "index" : "count", value));
  }
  if (is_index && *number > 0) {
    return Wrong(fmt::format("MDT index {}: there is only MDT 0", *number), ENODEV);
  }
  if (!is_index && *number > 1) {
    return Wrong("striped directories are not implemented in Sheen", EOPNOTSUPP);
  }
  return {};
}

std::string ParentOf(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// On Sheen, or not at all.
Status MakeOne(const std::string& path, std::optional<mode_t> mode) {
  SHEEN_TRY_ASSIGN(const Device parent, Device::Open(ParentOf(path), O_RDONLY | O_DIRECTORY));
  SHEEN_TRY_ASSIGN([[maybe_unused]] const Fid fid, parent.GetFid());
  if (::mkdir(path.c_str(), mode.value_or(kModeDefault)) != 0) return FailErrno(errno, path);
  if (mode && ::chmod(path.c_str(), *mode) != 0) return FailErrno(errno, path);
  return {};
}

}  // namespace

int RunGetdirstripe(const Arguments& args) {
  OptionReader reader(args, kGetSpecs);
  GetRequest request;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(kGet, option.error());
    if (!option->has_value()) break;
    request.letters += static_cast<char>((*option)->letter);
  }
  request.paths = reader.Rest();
  if (request.paths.empty()) return ReportOptionError(kGet, {"missing dirname"});
  int last = 0;
  for (const std::string& path : request.paths) {
    const int status = ShowOne(request, path, request.paths.size() > 1 || request.has('r'));
    if (status != 0) last = status;
  }
  return last;
}

int RunMkdir(const Arguments& args) {
  OptionReader reader(args, kMakeSpecs);
  MakeRequest request;
  for (;;) {
    const auto option = reader.Next();
    if (!option) return ReportOptionError(args[0], option.error());
    if (!option->has_value()) break;
    if (auto taken = TakeMake(**option, &request); !taken) {
      return ReportOptionError(args[0], taken.error());
    }
  }
  request.paths = reader.Rest();
  if (request.paths.empty()) return ReportOptionError(args[0], {"missing dirname"});
  int first = 0;
  for (const std::string& path : request.paths) {
    const Status made = MakeOne(path, request.mode);
    const int status =
        made ? 0 : ReportError(args[0], "cannot create dir '" + path + "'", made.error());
    if (first == 0) first = status;
  }
  return first;
}

}  // namespace sheen::lfs
