#include "apps/bench/ior_options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <cctype>
#include <cstdlib>

namespace sheen::bench {
namespace {

constexpr char kHelp[] =
    R"(Usage: sheen-bench ior [OPTIONS]
  -a API   POSIX (the only one here)
  -b N     block size: contiguous bytes of one task in a segment (default 1m)
  -B       O_DIRECT (also --posix.odirect)
  -C       read what the neighbouring task wrote
  -e       fsync after writing
  -F       one file a process
  -i N     repetitions (default 1)
  -k       keep the files
  -N N     number of tasks, made by fork (default 1)
  -o FILE  test file (default testFile); with -F each task adds .NNNNNNNN
  -r -w    read, write (default: both)
  -R -W    check the data while reading, after writing
  -s N     segments (default 1)
  -t N     transfer size of one call (default 256k)
  -z       random order of transfers
  --seed N seed of -z (default 0)
Sizes take k, m, g, t. Exit status 1 when data was wrong or a call failed.
)";

Result<uint64_t> ParseSize(char option, const char* text) {
  char* end = nullptr;
  const double number = std::strtod(text, &end);
  uint64_t unit = 1;
  switch (std::tolower(static_cast<unsigned char>(*end))) {
    case 'k':
      unit = 1ULL << 10;
      break;
    case 'm':
      unit = 1ULL << 20;
      break;
    case 'g':
      unit = 1ULL << 30;
      break;
    case 't':
      unit = 1ULL << 40;
      break;
    case '\0':
      break;
    default:
      return Fail(Errc::kInvalid, fmt::format("-{} {}: not a size; use 64k, 1m, 2g", option, text));
  }
  if (end == text || number <= 0 || number * static_cast<double>(unit) > 0x1p62) {
    return Fail(Errc::kInvalid, fmt::format("-{} {}: must be a size above 0", option, text));
  }
  return static_cast<uint64_t>(number * static_cast<double>(unit));
}

Status Validate(const IorOptions& options) {
  if (options.block_bytes % options.transfer_bytes != 0) {
    return Fail(Errc::kInvalid, "-b: block size must be a multiple of the transfer size (-t)");
  }
  if (options.transfer_bytes % 8 != 0) {
    return Fail(Errc::kInvalid, "-t: transfer size must be a multiple of 8 (the data is checked)");
  }
  if (options.direct && options.transfer_bytes % 512 != 0) {
    return Fail(Errc::kInvalid, "-B: direct I/O needs a transfer size that is a multiple of 512");
  }
  if (options.task_count > 4096) return Fail(Errc::kInvalid, "-N: at most 4096 tasks");
  if (options.transfer_bytes > (1ULL << 30)) return Fail(Errc::kInvalid, "-t: at most 1g");
  return {};
}

struct Flag {
  char letter;
  bool IorOptions::*member;
};
constexpr Flag kFlags[] = {
    {'B', &IorOptions::direct},     {'C', &IorOptions::reorder_tasks},
    {'e', &IorOptions::fsync},      {'F', &IorOptions::file_per_process},
    {'k', &IorOptions::keep_file},  {'r', &IorOptions::read},
    {'w', &IorOptions::write},      {'W', &IorOptions::check_write},
    {'R', &IorOptions::check_read}, {'z', &IorOptions::random_offset},
};

Status Apply(int letter, const char* argument, IorOptions* options) {
  for (const Flag& flag : kFlags) {
    if (flag.letter == letter) {
      options->*flag.member = true;
      return {};
    }
  }
  if (letter == 'a') {
    if (std::string(argument) == "POSIX") return {};
    return Fail(Errc::kInvalid, fmt::format("-a {}: only POSIX is known here", argument));
  }
  if (letter == 'o') {
    options->test_file = argument;
    return {};
  }
  if (letter == 1000) {
    options->random_seed = std::strtoull(argument, nullptr, 0);
    return {};
  }
  SHEEN_TRY_ASSIGN(const uint64_t value, ParseSize(static_cast<char>(letter), argument));
  if (letter == 'b') options->block_bytes = value;
  if (letter == 't') options->transfer_bytes = value;
  if (letter == 's') options->segment_count = value;
  if (letter == 'i') options->repetitions = static_cast<uint32_t>(value);
  if (letter == 'N') options->task_count = static_cast<uint32_t>(value);
  return {};
}

}  // namespace

Result<IorOptions> ParseIorOptions(int argc, char** argv) {
  static const option kLong[] = {{"posix.odirect", no_argument, nullptr, 'B'},
                                 {"seed", required_argument, nullptr, 1000},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  IorOptions options;
  optind = 1;
  opterr = 0;
  for (;;) {
    const int letter = getopt_long(argc, argv, ":a:b:BCeFhi:kN:o:rRs:t:wWz", kLong, nullptr);
    if (letter == -1) break;
    if (letter == 'h') {
      fmt::print("{}", kHelp);
      return Fail(Errc::kAlready);
    }
    if (letter == '?') {
      return Fail(Errc::kInvalid,
                  fmt::format("unknown option {}; see sheen-bench ior --help", argv[optind - 1]));
    }
    if (letter == ':') {
      return Fail(Errc::kInvalid, fmt::format("option {} needs a value", argv[optind - 1]));
    }
    SHEEN_TRY(Apply(letter, optarg, &options));
  }
  if (optind < argc) {
    return Fail(Errc::kInvalid, fmt::format("unexpected argument '{}'", argv[optind]));
  }
  if (!options.read && !options.write && !options.check_write && !options.check_read) {
    options.read = options.write = true;
  }
  SHEEN_TRY(Validate(options));
  return options;
}

}  // namespace sheen::bench
