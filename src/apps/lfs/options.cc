#include "apps/lfs/options.h"

#include <cerrno>

namespace sheen::lfs {

namespace {

constexpr int kLongOnly = 256;

int GetoptKind(Takes takes) {
  if (takes == Takes::kNothing) return no_argument;
  return takes == Takes::kArgument ? required_argument : optional_argument;
}

}  // namespace

OptionReader::OptionReader(const Arguments& args, std::span<const OptionSpec> specs)
    : args_(args), specs_(specs) {
  for (std::string& arg : args_) argv_.push_back(arg.data());
  argv_.push_back(nullptr);
  short_options_ = ":";  // report a missing argument as ':'
  for (const OptionSpec& spec : specs_) {
    long_options_.push_back({spec.name, GetoptKind(spec.takes), nullptr, spec.letter});
    if (spec.letter >= kLongOnly) continue;
    const char letter = static_cast<char>(spec.letter);
    if (short_options_.find(letter) != std::string::npos) continue;
    short_options_ += letter;
    if (spec.takes != Takes::kNothing) short_options_ += ':';
    if (spec.takes == Takes::kOptional) short_options_ += ':';
  }
  long_options_.push_back({});
  ::optind = 0;  // glibc: start anew
  ::opterr = 0;
}

std::expected<std::optional<Option>, OptionError> OptionReader::Next() {
  int long_index = -1;
  const int letter = ::getopt_long(static_cast<int>(args_.size()), argv_.data(),
                                   short_options_.c_str(), long_options_.data(), &long_index);
  if (letter == -1) return std::nullopt;
  if (letter == '?' || letter == ':') {
    const std::string last = argv_[static_cast<size_t>(::optind) - 1];
    const std::string name = ::optopt > 0 && ::optopt < kLongOnly && !last.starts_with("--")
                                 ? std::string("-") + static_cast<char>(::optopt)
                                 : last;
    return std::unexpected(OptionError{letter == '?'
                                           ? "unrecognized option '" + name + "'"
                                           : "option '" + name + "' requires an argument"});
  }
  for (const OptionSpec& spec : specs_) {
    if (spec.letter != letter) continue;
    if (long_index >= 0 && long_options_[static_cast<size_t>(long_index)].name != spec.name)
      continue;
    if (!spec.supported) {
      return std::unexpected(OptionError{
          "option " + NameOfRefused(letter, long_index) + " is not implemented in Sheen",
          EOPNOTSUPP});
    }
    break;
  }
  Option option{letter, std::nullopt};
  if (::optarg != nullptr) option.value = ::optarg;
  return option;
}

std::string OptionReader::NameOfRefused(int letter, int long_index) const {
  if (long_index >= 0)
    return std::string("--") + long_options_[static_cast<size_t>(long_index)].name;
  return std::string("-") + static_cast<char>(letter);
}

Arguments OptionReader::Rest() const {
  Arguments rest;
  for (size_t i = static_cast<size_t>(::optind); i < args_.size(); ++i) rest.emplace_back(argv_[i]);
  return rest;
}

}  // namespace sheen::lfs
