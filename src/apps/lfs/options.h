// Command-line options by getopt_long(3), with Lustre's rules: an optional argument must be
// attached (-I2, --component-id=2), long names may be cut short, and options may follow file names.
//
// Not thread-safe (getopt is not); one reader at a time.
#pragma once

#include <getopt.h>

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/lfs/command.h"

namespace sheen::lfs {

enum class Takes : uint8_t { kNothing, kArgument, kOptional };

struct OptionSpec {
  int letter;        // 256 and above: only a long name
  const char* name;  // without the dashes
  Takes takes = Takes::kNothing;
  bool supported = true;  // false: known to Lustre, refused by name
};

struct Option {
  int letter = 0;
  std::optional<std::string> value;
};

class OptionReader final {
 public:
  // `specs` outlives the reader. Aliases are further specs with the same letter.
  OptionReader(const Arguments& args, std::span<const OptionSpec> specs);

  // nullopt: no more options. Errors: unknown (usage), not supported (EOPNOTSUPP).
  std::expected<std::optional<Option>, OptionError> Next();
  // What is no option, once Next() has given nullopt.
  Arguments Rest() const;

 private:
  std::string NameOfRefused(int letter, int long_index) const;

  Arguments args_;
  std::span<const OptionSpec> specs_;
  std::vector<char*> argv_;
  std::vector<struct option> long_options_;
  std::string short_options_;
};

}  // namespace sheen::lfs
