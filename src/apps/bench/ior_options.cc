#include "apps/bench/ior_options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "apps/bench/arguments.h"
#include "apps/bench/task_group.h"

namespace sheen::bench {
namespace {

constexpr char kHelp[] =
    R"(NAME
  sheen-bench ior - bandwidth of parallel reads and writes, a work-alike of IOR

SYNOPSIS
  sheen-bench ior [OPTIONS]

DESCRIPTION
  Each task writes, and reads, its blocks: a file has -s segments, a segment one block of -b bytes
  of each task (with -F of one task), a block is written by calls of -t bytes. A phase's bandwidth
  is all bytes by the time from the first open to the last close. Data is made from writer and
  place, so that -R and -W find what is lost, torn or in the wrong place.

OPTIONS
  -a API     POSIX: system calls (default); SHEEN: libsheen, without a mount
  --sheen.source HOST[:HOST...]:/FSNAME[/SUBDIR]
             of -a SHEEN: the filesystem, as mount(8) takes it; -o is a path in it
  --sheen.port N
             data port of its MDS (default 7988)
  -b BYTES   block size: contiguous bytes of one task in a segment (default 1m)
  -B         O_DIRECT (also --posix.odirect)
  -C         read what the neighbouring task wrote
  -e         fsync after writing
  -F         one file a task
  -g         all tasks wait for each other between open, transfers and close
  -i N       repetitions (default 1)
  -k         keep the files
  -N N       number of tasks, made by fork (default 1; also --tasks)
  -o FILE    test file (default testFile); with -F each task adds .NNNNNNNN
  -O NAME=VALUE[,...]
             summaryFormat=default|JSON|CSV: how results are printed
             summaryFile=FILE: where to, in place of the standard output
  -r -w      read, write (default: both)
  -R -W      check the data while reading, after writing
  -s N       segments (default 1)
  -t BYTES   transfer size of one call (default 256k)
  -z         random order of transfers
  --seed N   seed of -z (default 0)
  -h, --help this text
  BYTES take k, m, g, t (powers of 1024).

EXIT STATUS
  0; 1 when a call failed or data was wrong; 2 when the command line was.

EXAMPLE
  sheen-bench ior -N 8 -w -r -R -C -e -b 256m -t 1m -o /mnt/sheen/ior
)";

constexpr int kSeed = 1000;
constexpr int kSheenSource = 1001;
constexpr int kSheenPort = 1002;

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
  const bool sheen = options.api == Api::kSheen;
  if (sheen && options.sheen_source.empty()) {
    return Fail(Errc::kInvalid, "-a SHEEN needs --sheen.source HOST:/FSNAME");
  }
  if (!sheen && !options.sheen_source.empty()) {
    return Fail(Errc::kInvalid, "--sheen.source is for -a SHEEN");
  }
  if (sheen && options.direct) {
    return Fail(Errc::kInvalid, "-B: -a SHEEN has no cache to be passed by");
  }
  if (options.transfer_bytes > (1ULL << 30)) return Fail(Errc::kInvalid, "-t: at most 1g");
  return {};
}

struct Flag {
  char letter;
  bool IorOptions::*member;
};
constexpr Flag kFlags[] = {
    {'B', &IorOptions::direct},        {'C', &IorOptions::reorder_tasks},
    {'e', &IorOptions::fsync},         {'F', &IorOptions::file_per_process},
    {'g', &IorOptions::barriers},      {'k', &IorOptions::keep_file},
    {'r', &IorOptions::read},          {'w', &IorOptions::write},
    {'W', &IorOptions::check_write},   {'R', &IorOptions::check_read},
    {'z', &IorOptions::random_offset},
};

bool SameWord(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

Status ApplyDirective(std::string_view directive, IorOptions* options) {
  const size_t equals = directive.find('=');
  const std::string_view name = directive.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? "" : directive.substr(equals + 1);
  if (SameWord(name, "summaryFile") && !value.empty()) {
    options->summary_file = value;
    return {};
  }
  if (!SameWord(name, "summaryFormat")) {
    return Fail(Errc::kInvalid,
                fmt::format("-O {}: not known here; known: summaryFormat=default|JSON|CSV, "
                            "summaryFile=FILE",
                            directive));
  }
  static constexpr std::pair<std::string_view, SummaryFormat> kFormats[] = {
      {"default", SummaryFormat::kDefault},
      {"json", SummaryFormat::kJson},
      {"csv", SummaryFormat::kCsv}};
  for (const auto& [word, format] : kFormats) {
    if (!SameWord(value, word)) continue;
    options->summary_format = format;
    return {};
  }
  return Fail(Errc::kInvalid, fmt::format("-O {}: must be default, JSON or CSV", directive));
}

Status ApplyDirectives(std::string_view list, IorOptions* options) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    SHEEN_TRY(ApplyDirective(list.substr(0, comma), options));
    list = comma == std::string_view::npos ? "" : list.substr(comma + 1);
  }
  return {};
}

Status ApplyNumber(int letter, const char* argument, IorOptions* options) {
  const std::string name = fmt::format("-{:c}", letter);
  if (letter == 'i' || letter == 'N') {
    const uint32_t most = letter == 'N' ? kTasksMax : 1U << 20;
    SHEEN_TRY_ASSIGN(const uint32_t count, ParseCount(name, argument, 1, most));
    (letter == 'i' ? options->repetitions : options->task_count) = count;
    return {};
  }
  SHEEN_TRY_ASSIGN(const uint64_t value, ParseSize(name, argument));
  if (value == 0) {
    return Fail(Errc::kInvalid, fmt::format("{} {}: must be above 0", name, argument));
  }
  if (letter == 'b') options->block_bytes = value;
  if (letter == 't') options->transfer_bytes = value;
  if (letter == 's') options->segment_count = value;
  return {};
}

Status Apply(int letter, const char* argument, IorOptions* options) {
  for (const Flag& flag : kFlags) {
    if (flag.letter == letter) {
      options->*flag.member = true;
      return {};
    }
  }
  if (letter == 'a') {
    const std::string_view api = argument;
    if (api != "POSIX" && api != "SHEEN") {
      return Fail(Errc::kInvalid, fmt::format("-a {}: must be POSIX or SHEEN", argument));
    }
    options->api = api == "SHEEN" ? Api::kSheen : Api::kPosix;
    return {};
  }
  if (letter == kSheenSource) {
    options->sheen_source = argument;
    return {};
  }
  if (letter == kSheenPort) {
    SHEEN_TRY_ASSIGN(const uint32_t port, ParseCount("--sheen.port", argument, 1, UINT16_MAX));
    options->sheen_port = static_cast<uint16_t>(port);
    return {};
  }
  if (letter == 'o') {
    options->test_file = argument;
    return {};
  }
  if (letter == 'O') return ApplyDirectives(argument, options);
  if (letter == kSeed) {
    options->random_seed = std::strtoull(argument, nullptr, 0);
    return {};
  }
  return ApplyNumber(letter, argument, options);
}

}  // namespace

Result<IorOptions> ParseIorOptions(int argc, char** argv) {
  static const option kLong[] = {{"posix.odirect", no_argument, nullptr, 'B'},
                                 {"seed", required_argument, nullptr, kSeed},
                                 {"sheen.source", required_argument, nullptr, kSheenSource},
                                 {"sheen.port", required_argument, nullptr, kSheenPort},
                                 {"tasks", required_argument, nullptr, 'N'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  IorOptions options;
  optind = 0;  // of glibc: all anew
  opterr = 0;
  for (;;) {
    const int letter = getopt_long(argc, argv, ":a:b:BCeFghi:kN:o:O:rRs:t:wWz", kLong, nullptr);
    if (letter == -1) break;
    if (letter == 'h') {
      fmt::print("{}", kHelp);
      return Fail(Errc::kAlready);
    }
    if (letter == '?' || letter == ':') {
      const std::string name =
          optopt > 0 && optopt < 256 ? fmt::format("-{:c}", optopt) : argv[optind - 1];
      const char* what = letter == ':' ? "needs a value" : "is not known; see --help";
      return Fail(Errc::kInvalid, fmt::format("option {} {}", name, what));
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
